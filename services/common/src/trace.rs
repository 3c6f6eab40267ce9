//! Traces over the roles: which call, made where, belongs to which piece of work.
//!
//! Every call and every step of a run is a span; a call carries the W3C trace context (<https://www.w3.org/TR/trace-context/>)
//! to its peer, whose own spans then belong to the same trace. The log names trace and span, so that the logs of two roles can
//! be laid side by side; with `LINKAGE_OTLP_ENDPOINT` the spans also go to a collector ([`export`]). A span has a name from the
//! source (a method, a step), times and an outcome: no run, no partner, no count.

pub mod calls;
pub mod export;

use std::future::Future;
use std::time::Instant;

use jiff::Timestamp;
use tracing::Instrument;

use crate::clock::{Clock as _, SystemClock};

pub use calls::{CallLayer, Channel};
pub use export::flush;

/// The header that carries the context.
pub const HEADER: &str = "traceparent";

tokio::task_local! {
    static CURRENT: Context;
}

/// Where in which trace a piece of work stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Context {
    /// The trace, never zero.
    pub trace: u128,
    /// The span, never zero.
    pub span: u64,
}

impl Context {
    /// The first span of a new trace. Identifiers name nothing, so that a system without randomness only mixes traces up.
    pub fn root() -> Self {
        let mut bytes = [1; 16];
        let _ = getrandom::fill(&mut bytes);
        Self { trace: u128::from_be_bytes(bytes).max(1), span: new_span() }
    }

    /// The context that the current task works in.
    pub fn current() -> Option<Self> {
        CURRENT.try_with(|context| *context).ok()
    }

    /// A span below `parent`, or the first of a new trace.
    pub fn below(parent: Option<Self>) -> Self {
        parent.map_or_else(Self::root, |parent| Self { trace: parent.trace, span: new_span() })
    }

    /// As the header carries it, sampled.
    pub fn to_header(self) -> String {
        format!("00-{:032x}-{:016x}-01", self.trace, self.span)
    }

    /// Reads a header. Anything but version 0, in lower case, is ignored, as the specification has it for what is malformed.
    pub fn from_header(text: &str) -> Option<Self> {
        let mut parts = text.split('-');
        let (version, trace, span, flags) = (parts.next()?, parts.next()?, parts.next()?, parts.next()?);
        let plain =
            |text: &str, len: usize| text.len() == len && text.bytes().all(|b| b.is_ascii_digit() || (b'a'..=b'f').contains(&b));
        if version != "00" || parts.next().is_some() || !plain(trace, 32) || !plain(span, 16) || !plain(flags, 2) {
            return None;
        }
        let context = Self { trace: u128::from_str_radix(trace, 16).ok()?, span: u64::from_str_radix(span, 16).ok()? };
        (context.trace != 0 && context.span != 0).then_some(context)
    }

    /// Runs `work` in this context.
    pub async fn within<F: Future>(self, work: F) -> F::Output {
        CURRENT.scope(self, work).await
    }
}

fn new_span() -> u64 {
    getrandom::u64().unwrap_or(1).max(1)
}

/// What kind of work a span was; the number is OTLP's.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// Within this role.
    Internal = 1,
    /// A peer's call.
    Server = 2,
    /// This role's call.
    Client = 3,
}

/// A span that has begun.
#[derive(Debug)]
pub struct Open {
    pub(crate) context: Context,
    parent: Option<Context>,
    began: Timestamp,
    clock: Instant,
}

/// A span that has ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Ended {
    /// Its place.
    pub context: Context,
    /// The span that it is below.
    pub parent: Option<u64>,
    /// A method or a step.
    pub name: String,
    /// What it was.
    pub kind: Kind,
    /// Nanoseconds since 1970.
    pub from: u64,
    /// Nanoseconds since 1970.
    pub until: u64,
    /// A word of the source: a gRPC code, an outcome.
    pub outcome: &'static str,
    /// Whether the outcome is a good one.
    pub well: bool,
}

impl Open {
    /// Begins below `parent`.
    pub fn new(parent: Option<Context>) -> Self {
        Self { context: Context::below(parent), parent, began: SystemClock.now(), clock: Instant::now() }
    }

    /// Seconds since it began.
    pub fn seconds(&self) -> f64 {
        self.clock.elapsed().as_secs_f64()
    }

    /// Ends; the collector learns of it, if there is one.
    pub fn end(&self, name: &str, kind: Kind, outcome: &'static str, well: bool) {
        let from = u64::try_from(self.began.as_nanosecond()).unwrap_or_default();
        let lasted = u64::try_from(self.clock.elapsed().as_nanos()).unwrap_or_default();
        export::offer(|| Ended {
            context: self.context,
            parent: self.parent.map(|parent| parent.span),
            name: name.to_owned(),
            kind,
            from,
            until: from.saturating_add(lasted),
            outcome,
            well,
        });
    }
}

/// Does a step of a run as a span of its own, in the log as well: `run` goes there and nowhere else.
pub async fn step<T, E>(name: &'static str, run: &str, work: impl Future<Output = Result<T, E>>) -> Result<T, E> {
    let open = Open::new(Context::current());
    let Context { trace, span } = open.context;
    let logged = tracing::info_span!(
        "step",
        role = crate::telemetry::role(),
        run,
        step = name,
        trace = format_args!("{trace:032x}"),
        span = format_args!("{span:016x}")
    );
    let done = open.context.within(work).instrument(logged).await;
    open.end(name, Kind::Internal, if done.is_ok() { "done" } else { "failed" }, done.is_ok());
    done
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_header_is_the_specifications() {
        // W3C Trace Context, section 3.2.3.
        let text = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";
        let context = Context { trace: 0x0af7_6519_16cd_43dd_8448_eb21_1c80_319c, span: 0xb7ad_6b71_6920_3331 };
        assert_eq!(Context::from_header(text), Some(context));
        assert_eq!(context.to_header(), text);
        for malformed in [
            "",
            "00",
            "01-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01",
            "00-0AF7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01",
            "00-00000000000000000000000000000000-b7ad6b7169203331-01",
            "00-0af7651916cd43dd8448eb211c80319c-0000000000000000-01",
            "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01-more",
            "00-+af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01",
        ] {
            assert_eq!(Context::from_header(malformed), None, "{malformed}");
        }
    }

    #[tokio::test]
    async fn work_below_work_is_in_one_trace() {
        assert_eq!(Context::current(), None);
        let outer = Context::root();
        let inner = outer.within(async { Context::below(Context::current()) }).await;
        assert_eq!(inner.trace, outer.trace);
        assert_ne!(inner.span, outer.span);
        assert_ne!(Context::root().trace, outer.trace);
    }
}
