//! What stands on a host beside sockets: nft tables, policy rules, routes. Compared before and
//! after, they tell what lbd put there, and that nothing else changed.

use crate::netns::Netns;

/// One look at a namespace; every entry one line, as the tools print it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Host {
    /// `inet lbd_proxy`
    pub tables: Vec<String>,
    /// As `ip rule` and `ip -6 rule` print them, `-6 ` before those of IPv6.
    pub rules: Vec<String>,
    /// As `ip route show table all` prints them, `-6 ` before those of IPv6.
    pub routes: Vec<String>,
}

impl Host {
    /// Looks.
    pub fn of(netns: &Netns) -> Host {
        let both = |what: &str| {
            let mut lines = lines(&netns.ip(&format!("-4 {what}")), "");
            lines.extend(self::lines(&netns.ip(&format!("-6 {what}")), "-6 "));
            // The kernel's own come and go with addresses and cables.
            lines.retain(|line| !line.contains("proto kernel"));
            lines.sort();
            lines
        };
        let mut tables = lines(&netns.nft("list tables"), "");
        tables.iter_mut().for_each(|table| {
            *table = table.trim_start_matches("table ").to_owned();
        });
        tables.sort();
        Host {
            tables,
            rules: both("rule show"),
            routes: both("route show table all"),
        }
    }

    /// What is there now and was not there `before`; an entry that came twice is there twice.
    #[must_use]
    pub fn since(&self, before: &Host) -> Host {
        Host {
            tables: more(&self.tables, &before.tables),
            rules: more(&self.rules, &before.rules),
            routes: more(&self.routes, &before.routes),
        }
    }

    /// Whether nothing is.
    pub fn is_empty(&self) -> bool {
        self.tables.is_empty() && self.rules.is_empty() && self.routes.is_empty()
    }

    /// Deletes the rules of this look.
    pub fn delete_rules(&self, netns: &Netns) {
        for rule in &self.rules {
            let (family, rule) = family(rule);
            let (preference, _) = rule.split_once(':').expect("`PREFERENCE: what`");
            netns.ip(&format!("{family} rule del pref {preference}"));
        }
    }

    /// Deletes the routes of this look.
    pub fn delete_routes(&self, netns: &Netns) {
        for route in &self.routes {
            let (family, route) = family(route);
            // What follows the metric of an IPv6 route is no part of its name.
            let route = route.split(" pref ").next().unwrap_or(route);
            netns.ip(&format!("{family} route del {route}"));
        }
    }
}

fn family(line: &str) -> (&str, &str) {
    match line.strip_prefix("-6 ") {
        Some(rest) => ("-6", rest),
        None => ("-4", line),
    }
}

fn lines(text: &str, prefix: &str) -> Vec<String> {
    let words = |line: &str| line.split_whitespace().collect::<Vec<_>>().join(" ");
    text.lines()
        .map(|line| format!("{prefix}{}", words(line)))
        .collect()
}

fn more(now: &[String], before: &[String]) -> Vec<String> {
    let mut before = before.to_vec();
    let mut more = Vec::new();
    for entry in now {
        match before.iter().position(|old| old == entry) {
            Some(at) => {
                before.swap_remove(at);
            }
            None => more.push(entry.clone()),
        }
    }
    more
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_came_twice_is_there_twice() {
        let host = |rules: &[&str]| Host {
            rules: rules.iter().map(|rule| (*rule).to_owned()).collect(),
            ..Host::default()
        };
        let added = host(&["a", "b", "b"]).since(&host(&["a", "b"]));
        assert_eq!(added, host(&["b"]));
        assert!(host(&["a"]).since(&host(&["a", "c"])).is_empty());
    }
}
