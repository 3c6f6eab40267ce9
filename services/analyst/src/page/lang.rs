//! The page's two languages, and figures as their readers write them.
//!
//! Every string that the page shows stands in [`super::text`], French and English side by side.

use super::text::{EN, FR, Texts};

/// A language of the page.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) enum Lang {
    /// French.
    #[default]
    Fr,
    /// English.
    En,
}

impl Lang {
    /// By its code.
    pub(super) fn of(code: &str) -> Option<Self> {
        match code {
            "fr" => Some(Self::Fr),
            "en" => Some(Self::En),
            _ => None,
        }
    }
    /// Its code.
    pub(super) fn code(self) -> &'static str {
        match self {
            Self::Fr => "fr",
            Self::En => "en",
        }
    }
    /// The one that a browser prefers (`Accept-Language`, RFC 9110, section 12.5.4); French when it prefers neither.
    pub(super) fn preferred(header: &str) -> Self {
        let mut best = (0.0, Self::Fr);
        for item in header.split(',') {
            let mut parts = item.split(';');
            let tag = parts.next().unwrap_or_default().trim().to_ascii_lowercase();
            let weight = parts.find_map(|p| p.trim().strip_prefix("q=").map(|q| q.parse::<f64>().unwrap_or(0.0))).unwrap_or(1.0);
            let lang = Self::of(tag.split('-').next().unwrap_or_default());
            if let Some(lang) = lang
                && weight > best.0
            {
                best = (weight, lang);
            }
        }
        best.1
    }
    /// Its texts.
    pub(super) fn texts(self) -> &'static Texts {
        match self {
            Self::Fr => &FR,
            Self::En => &EN,
        }
    }
    /// A figure: whole, or with one decimal; digits in groups of three.
    pub(super) fn number(self, value: f64) -> String {
        let tenths = (value.abs() * 10.0).round();
        if tenths >= 1e17 || !tenths.is_finite() {
            return value.to_string();
        }
        let tenths = tenths as u64;
        let digits = (tenths / 10).to_string();
        let mut out = String::new();
        if value < 0.0 && tenths > 0 {
            out.push('\u{2212}');
        }
        for (i, digit) in digits.chars().enumerate() {
            if i > 0 && (digits.len() - i).is_multiple_of(3) {
                out.push(if self == Self::Fr { '\u{202f}' } else { ',' });
            }
            out.push(digit);
        }
        if !tenths.is_multiple_of(10) {
            out.push(if self == Self::Fr { ',' } else { '.' });
            out.push_str(&(tenths % 10).to_string());
        }
        out
    }
    /// A count.
    pub(super) fn count(self, n: u64) -> String {
        self.number(n as f64)
    }
    /// A share.
    pub(super) fn percent(self, share: f64) -> String {
        match self {
            Self::Fr => format!("{}\u{a0}%", self.number(100.0 * share)),
            Self::En => format!("{}%", self.number(100.0 * share)),
        }
    }
}

/// `text` with `{0}`, `{1}`… replaced.
pub(super) fn fill(text: &str, values: &[&str]) -> String {
    let mut out = text.to_owned();
    for (at, value) in values.iter().enumerate() {
        out = out.replace(&format!("{{{at}}}"), value);
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_browser_gets_the_language_that_it_prefers() {
        for (header, lang) in [
            ("", Lang::Fr),
            ("de", Lang::Fr),
            ("en", Lang::En),
            ("en-GB,fr;q=0.8", Lang::En),
            ("de, fr;q=0.5, en;q=0.7", Lang::En),
            ("fr-FR,en;q=0.9", Lang::Fr),
            ("en;q=zz", Lang::Fr),
        ] {
            assert_eq!(Lang::preferred(header), lang, "{header}");
        }
    }

    #[test]
    fn figures_are_written_as_their_readers_write_them() {
        assert_eq!(Lang::Fr.number(1_234_567.0), "1\u{202f}234\u{202f}567");
        assert_eq!(Lang::En.number(1_234.54), "1,234.5");
        assert_eq!(Lang::Fr.number(-3.25), "\u{2212}3,3");
        assert_eq!(Lang::Fr.number(0.04), "0");
        assert_eq!(Lang::Fr.percent(0.125), "12,5\u{a0}%");
        assert_eq!(fill("{0} et {1}", &["a", "b"]), "a et b");
    }
}
