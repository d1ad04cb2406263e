//! A label selector with equalities, as `kubectl --selector` takes it.

use std::collections::BTreeMap;
use std::str::FromStr;

/// `disk=ssd,zone!=b,edge,!gpu`: all of them hold.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Selector(Vec<Requirement>);

#[derive(Clone, Debug, PartialEq, Eq)]
enum Requirement {
    Equal(String, String),
    NotEqual(String, String),
    Exists(String),
    Missing(String),
}

impl Selector {
    /// Whether labels fit.
    pub(super) fn fits(&self, labels: &BTreeMap<String, String>) -> bool {
        self.0.iter().all(|requirement| match requirement {
            Requirement::Equal(key, value) => labels.get(key) == Some(value),
            Requirement::NotEqual(key, value) => labels.get(key) != Some(value),
            Requirement::Exists(key) => labels.contains_key(key),
            Requirement::Missing(key) => !labels.contains_key(key),
        })
    }
}

impl FromStr for Selector {
    type Err = String;

    fn from_str(text: &str) -> Result<Selector, String> {
        let one = |part: &str| {
            let part = part.trim();
            let pair = |(key, value): (&str, &str)| {
                let value = value.strip_prefix('=').unwrap_or(value);
                (key.trim().to_owned(), value.trim().to_owned())
            };
            let requirement = if let Some(pieces) = part.split_once("!=") {
                let (key, value) = pair(pieces);
                Requirement::NotEqual(key, value)
            } else if let Some(pieces) = part.split_once('=') {
                let (key, value) = pair(pieces);
                Requirement::Equal(key, value)
            } else if let Some(key) = part.strip_prefix('!') {
                Requirement::Missing(key.trim().to_owned())
            } else {
                Requirement::Exists(part.to_owned())
            };
            match &requirement {
                Requirement::Equal(key, _)
                | Requirement::NotEqual(key, _)
                | Requirement::Exists(key)
                | Requirement::Missing(key)
                    if key.is_empty() || key.contains([' ', '(', ')']) =>
                {
                    Err(format!(
                        "\"{part}\" is no requirement: key=value, key!=value, key or !key"
                    ))
                }
                _ => Ok(requirement),
            }
        };
        text.split(',')
            .map(one)
            .collect::<Result<_, _>>()
            .map(Selector)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn labels_fit_or_do_not() {
        let labels = [("disk", "ssd"), ("zone", "a"), ("edge", "")];
        let labels = labels.map(|(k, v)| (k.to_owned(), v.to_owned())).into();
        for (text, fits) in [
            ("disk=ssd", true),
            ("disk==ssd", true),
            ("disk=hdd", false),
            ("disk=ssd,zone!=b", true),
            ("disk=ssd, zone!=a", false),
            ("edge", true),
            ("!edge", false),
            ("!gpu", true),
            ("gpu!=yes", true),
            ("edge=", true),
        ] {
            let selector: Selector = text.parse().expect(text);
            assert_eq!(selector.fits(&labels), fits, "{text}");
        }
        assert!(Selector::default().fits(&labels));
        for text in ["", "=a", "a,,b", "zone in (a)", "!"] {
            assert!(text.parse::<Selector>().is_err(), "{text}");
        }
    }
}
