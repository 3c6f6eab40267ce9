//! Runs under way at the broker, with their forecast.
//!
//! The broker tells an analyst a run's month, phase and forecast, and nothing else ([`linkage_proto::v1::RunStatus`]). It is
//! asked when somebody looks, at most every few seconds however many do, and never waited for long: a broker that is away
//! leaves the overview as it is.

use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use linkage_common::error::ServiceError;
use linkage_common::gate::Gate;
use linkage_common::tls::{Channel, TlsFiles, connect_lazy};
use linkage_proto::v1::{self, RunState, runs_client::RunsClient};
use maud::{Markup, html};
use tokio::sync::Mutex;

use super::lang::{Lang, fill};
use super::views::capital;

/// Seconds for which an answer is kept.
const KEEP_S: i64 = 10;
/// Longest wait for the broker.
const WAIT: Duration = Duration::from_secs(3);
/// Runs shown.
const MOST: usize = 20;

/// What the broker said last, and when.
type Said = Option<(i64, Option<Arc<Vec<v1::RunStatus>>>)>;

/// The broker, where the configuration names it.
pub(super) struct Runs {
    gate: Arc<Gate>,
    client: RunsClient<Channel>,
    said: Mutex<Said>,
}

impl Runs {
    /// Connects when first asked.
    ///
    /// # Errors
    /// Address or certificate files cannot be used.
    pub(super) fn new(url: &str, tls: &TlsFiles, gate: Arc<Gate>) -> Result<Self, ServiceError> {
        let channel =
            connect_lazy(url, tls, &gate.agreement().broker.certificate_identity).map_err(ServiceError::configuration)?;
        Ok(Self { client: RunsClient::new(channel), gate, said: Mutex::default() })
    }

    /// Runs that have not ended; none when the broker does not answer.
    async fn under_way(&self) -> Option<Arc<Vec<v1::RunStatus>>> {
        // Held while asking: many who look at once ask once.
        let mut said = self.said.lock().await;
        let now = self.gate.now();
        if let Some((at, runs)) = said.as_ref().filter(|(at, _)| (0..KEEP_S).contains(&now.saturating_sub(*at))) {
            tracing::trace!(at, "runs as the broker told them before");
            return runs.clone();
        }
        let request = v1::ListRunsRequest { agreement: Some(self.gate.reference()), under_way: true, ..Default::default() };
        let mut client = self.client.clone();
        let runs = match tokio::time::timeout(WAIT, client.list_runs(request)).await {
            Ok(Ok(answer)) => {
                let mut runs = answer.into_inner().runs;
                runs.retain(under_way);
                runs.reverse();
                runs.truncate(MOST);
                Some(Arc::new(runs))
            }
            Ok(Err(status)) => {
                tracing::info!(code = ?status.code(), "the broker did not tell the runs under way");
                None
            }
            Err(_) => None,
        };
        *said = Some((now, runs.clone()));
        runs
    }

    /// The overview's part.
    pub(super) async fn content(&self, lang: Lang) -> Markup {
        let t = lang.texts();
        match self.under_way().await {
            None => html! { h2 { (t.runs) } p.soft { (t.broker_silent) } },
            Some(runs) => html! { h2 { (t.runs) } (table(lang, &runs)) },
        }
    }
}

fn under_way(run: &v1::RunStatus) -> bool {
    matches!(run.state(), RunState::Collecting | RunState::Linking | RunState::Delivering)
}

fn table(lang: Lang, runs: &[v1::RunStatus]) -> Markup {
    let t = lang.texts();
    html! {
        @if runs.is_empty() { p { (t.no_runs) } } @else {
            div.wide tabindex="0" role="group" aria-label=(t.runs) {
                table {
                    caption { (t.runs_caption) }
                    thead { tr {
                        th.text scope="col" { (capital(t.run)) }
                        th.text scope="col" { (capital(t.month)) }
                        th.text scope="col" { (t.phase) }
                        th.text scope="col" { (t.progress) }
                        th.text scope="col" { (t.expected_end) }
                    } }
                    tbody { @for run in runs {
                        tr {
                            th.text scope="row" { (run.run_id) }
                            td.text { (run.period) }
                            td.text { (phase(lang, run.state())) }
                            td.text { (progress(lang, run)) }
                            td.text { (end(lang, run)) }
                        }
                    } }
                }
            }
        }
    }
}

fn phase(lang: Lang, state: RunState) -> &'static str {
    let t = lang.texts();
    match state {
        RunState::Collecting => t.phase_collecting,
        RunState::Linking => t.phase_linking,
        RunState::Delivering => t.phase_delivering,
        _ => t.missing,
    }
}

fn progress(lang: Lang, run: &v1::RunStatus) -> String {
    let t = lang.texts();
    let Some(forecast) = &run.forecast else { return t.missing.to_owned() };
    let (done, total) = (u64::from(forecast.done), u64::from(forecast.total));
    if run.state() == RunState::Collecting {
        return fill(t.sent_of, &[&lang.count(done), &lang.count(total)]);
    }
    fill(t.step_of, &[&lang.count((done + 1).min(total)), &lang.count(total)])
}

fn end(lang: Lang, run: &v1::RunStatus) -> String {
    let t = lang.texts();
    let forecast = run.forecast.as_ref().filter(|f| f.expected_end > 0 && run.state() != RunState::Collecting);
    match forecast.and_then(|f| Some((f, Timestamp::from_second(f.expected_end).ok()?))) {
        None => t.no_forecast.to_owned(),
        Some((forecast, at)) => {
            let minutes = forecast.expected_end.saturating_sub(forecast.as_of).max(0).unsigned_abs().div_ceil(60);
            fill(t.expected, &[&lang.count(minutes), &at.strftime("%Y-%m-%d %H:%M").to_string()])
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn run(state: RunState, forecast: Option<v1::RunForecast>) -> v1::RunStatus {
        let (run_id, period) = ("2026-11".to_owned(), "2026-11".to_owned());
        v1::RunStatus { run_id, period, state: state.into(), forecast, ..v1::RunStatus::default() }
    }

    fn forecast(done: u32, total: u32, expected_end: i64) -> v1::RunForecast {
        v1::RunForecast { done, total, expected_end, step_since: 1_800_000_000, as_of: 1_800_000_030 }
    }

    #[test]
    fn a_run_is_shown_with_phase_and_forecast_in_words() {
        let collecting = run(RunState::Collecting, Some(forecast(2, 5, 0)));
        assert_eq!(progress(Lang::Fr, &collecting), "2 partenaires sur 5 ont envoyé");
        assert_eq!(end(Lang::Fr, &collecting), Lang::Fr.texts().no_forecast);
        let linking = run(RunState::Linking, Some(forecast(1, 5, 1_800_000_600)));
        assert_eq!(progress(Lang::Fr, &linking), "étape 2 sur 5");
        assert_eq!(end(Lang::Fr, &linking), "dans 10\u{a0}min environ (2027-01-15 08:10 UTC)");
        assert_eq!(end(Lang::En, &linking), "in about 10 min (2027-01-15 08:10 UTC)");
        let shown = table(Lang::En, &[linking, collecting]).into_string();
        for words in ["linking", "collecting", "step 2 of 5", "<caption>", "scope=\"row\""] {
            assert!(shown.contains(words), "{words}: {shown}");
        }
        assert!(table(Lang::Fr, &[]).into_string().contains(Lang::Fr.texts().no_runs));
    }

    #[test]
    fn only_runs_that_have_not_ended_are_under_way() {
        let states = [
            RunState::Collecting,
            RunState::Linking,
            RunState::Delivering,
            RunState::Closed,
            RunState::Cancelled,
            RunState::Failed,
            RunState::Unspecified,
        ];
        assert_eq!(states.map(|s| under_way(&run(s, None))), [true, true, true, false, false, false, false]);
        assert_eq!(progress(Lang::Fr, &run(RunState::Linking, None)), Lang::Fr.texts().missing);
    }
}
