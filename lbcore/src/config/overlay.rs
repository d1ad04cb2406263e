//! What runs otherwise than the files say, because somebody wanted it so for the moment
//! (`--runtime`).
//!
//! A change is kept key by key, each with what the file said at that time. It holds over reloads
//! and restarts until the file says something else of that same key: then the file wins.

use super::Config;
use super::edit::{self, Edit, EditError, Edited, Keys, meanings, place};
use super::{Sources, diff::Change, diff::diff};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use std::collections::BTreeMap;
use std::fmt;
use std::net::SocketAddr;

/// Every change that is for the moment.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Overlay {
    /// Each is of another key.
    pub changes: Vec<RuntimeChange>,
}

/// One key that is otherwise than in the file, or a section that is there, or is not.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RuntimeChange {
    /// Name of the service.
    pub service: String,
    /// Which real of it, where it is about a real.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub real: Option<SocketAddr>,
    /// The key: `["weight"]`, `["proxy", "retries"]`; empty: the section as a whole.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub key: Vec<String>,
    /// What the file said when it was changed; null: nothing.
    pub file: Value,
    /// What runs; null: nothing, which is the default.
    pub running: Value,
}

/// Files and what is for the moment, together.
#[derive(Clone, Debug, PartialEq)]
pub struct Composed {
    /// As files would say it, and what that means.
    pub running: Edited,
    /// What still holds.
    pub overlay: Overlay,
    /// What does not any more, because the file says something else by now.
    pub overruled: Vec<RuntimeChange>,
}

impl Overlay {
    /// Whether everything runs as the files say.
    pub fn is_empty(&self) -> bool {
        self.changes.is_empty()
    }

    /// How `running` differs from `file`.
    ///
    /// # Errors
    /// One of them is no TOML.
    pub fn between(file: &Sources, running: &Sources) -> Result<Self, EditError> {
        let (file, running) = (Services::of(file)?, Services::of(running)?);
        let mut changes = Vec::new();
        for (name, new) in &running.0 {
            let base = RuntimeChange {
                service: name.clone(),
                real: None,
                key: Vec::new(),
                file: Value::Null,
                running: Value::Null,
            };
            let Some(old) = file.0.get(name) else {
                changes.push(RuntimeChange {
                    running: Value::Object(new.whole.clone()),
                    ..base
                });
                continue;
            };
            differ(&base, &old.keys, &new.keys, &mut changes);
            for (place, real) in &new.reals {
                let base = RuntimeChange {
                    real: Some(*place),
                    ..base.clone()
                };
                match old.reals.get(place) {
                    Some(old) => differ(&base, old, real, &mut changes),
                    None => changes.push(RuntimeChange {
                        running: Value::Object(real.clone()),
                        ..base
                    }),
                }
            }
            for (place, real) in &old.reals {
                if !new.reals.contains_key(place) {
                    changes.push(RuntimeChange {
                        real: Some(*place),
                        file: Value::Object(real.clone()),
                        ..base.clone()
                    });
                }
            }
        }
        for (name, old) in &file.0 {
            if !running.0.contains_key(name) {
                changes.push(RuntimeChange {
                    service: name.clone(),
                    real: None,
                    key: Vec::new(),
                    file: Value::Object(old.whole.clone()),
                    running: Value::Null,
                });
            }
        }
        Ok(Overlay { changes })
    }

    /// Makes `edits` for the moment: what then runs, and what is then for the moment.
    ///
    /// # Errors
    /// As [`edit::edit`].
    pub fn and(&self, file: &Sources, edits: &[Edit]) -> Result<Composed, EditError> {
        let Composed {
            running, overruled, ..
        } = compose(file, self)?;
        let running = edit::edit(&running.sources, edits)?;
        let mut overlay = Overlay::between(file, &running.sources)?;
        // A default said aloud is no difference.
        let said = edit::edit(file, &[])?.checked.config;
        overlay.changes.retain(|change| {
            edit::edit(file, &[change.edit()]).map_or(true, |alone| alone.checked.config != said)
        });
        Ok(Composed {
            overlay,
            running,
            overruled,
        })
    }

    /// A service has another name in the file; what was changed about it goes on.
    pub fn follow_rename(&mut self, from: &str, to: &str) {
        for change in &mut self.changes {
            if change.service == from {
                to.clone_into(&mut change.service);
            }
        }
    }
}

/// What runs where `file` is the file and `overlay` is for the moment.
///
/// # Errors
/// The file itself is no good configuration, or no TOML.
pub fn compose(file: &Sources, overlay: &Overlay) -> Result<Composed, EditError> {
    let services = Services::of(file)?;
    let mut holds = Vec::new();
    let mut overruled = Vec::new();
    for change in &overlay.changes {
        match services.says(change) {
            Some(now) if now == change.running => {}
            Some(now) if now == change.file => holds.push(change.clone()),
            _ => overruled.push(change.clone()),
        }
    }
    let edits: Vec<Edit> = holds.iter().map(RuntimeChange::edit).collect();
    if let Ok(running) = edit::edit(file, &edits) {
        return Ok(Composed {
            running,
            overlay: Overlay { changes: holds },
            overruled,
        });
    }
    // Something else in the file does not go together with one of them: the file wins.
    let mut running = edit::edit(file, &[])?;
    let mut still = Vec::new();
    for (change, edit) in holds.into_iter().zip(edits) {
        match edit::edit(&running.sources, &[edit]) {
            Ok(edited) => {
                running = edited;
                still.push(change);
            }
            Err(_) => overruled.push(change),
        }
    }
    Ok(Composed {
        running,
        overlay: Overlay { changes: still },
        overruled,
    })
}

/// What runs otherwise than the file says, in words: what it is, what the file says, what runs.
pub fn drift(file: &Config, running: &Config) -> Vec<(String, String, String)> {
    let diff = diff(file, running);
    diff.changes.iter().map(Change::as_drift).collect()
}

impl RuntimeChange {
    /// The same as a change of files.
    fn edit(&self) -> Edit {
        let service = self.service.clone();
        let keys = || {
            let mut value = self.running.clone();
            for key in self.key.iter().rev() {
                value = Value::Object(Keys::from_iter([(key.clone(), value)]));
            }
            match value {
                Value::Object(keys) => keys,
                _ => Keys::new(),
            }
        };
        let gone = self.key.is_empty() && self.running.is_null();
        match (self.real, self.key.is_empty()) {
            (None, true) if gone => Edit::RemoveService { service },
            (None, true) => Edit::AddService { keys: keys() },
            (None, false) => Edit::SetService {
                service,
                keys: keys(),
            },
            (Some(real), true) if gone => Edit::RemoveReal { service, real },
            (Some(_), true) => Edit::AddReal {
                service,
                keys: keys(),
            },
            (Some(real), false) => Edit::SetReal {
                service,
                real,
                keys: keys(),
            },
        }
    }
}

impl fmt::Display for RuntimeChange {
    /// `web/192.0.2.21 weight: 5 (the file said 1)`
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.service)?;
        if let Some(real) = &self.real {
            write!(f, "/{}", edit::in_words(real))?;
        }
        let word = |value: &Value| match value {
            Value::Null => "nothing".to_owned(),
            Value::Object(_) if self.key.is_empty() => "there".to_owned(),
            value => value.to_string(),
        };
        if !self.key.is_empty() {
            write!(f, " {}", self.key.join("."))?;
        }
        let (running, file) = (word(&self.running), word(&self.file));
        write!(f, ": {running} (the file said {file})")
    }
}

/// Services as files have them, by name.
struct Services(BTreeMap<String, Service>);

struct Service {
    whole: Keys,
    /// All but its reals.
    keys: Keys,
    reals: BTreeMap<SocketAddr, Keys>,
}

impl Services {
    fn of(sources: &Sources) -> Result<Self, EditError> {
        let mut services = BTreeMap::new();
        for file in meanings(sources)? {
            let Some(Value::Array(list)) = file.get("service") else {
                continue;
            };
            for service in list.iter().filter_map(Value::as_object) {
                let mut keys = service.clone();
                let reals = match keys.remove("real") {
                    Some(Value::Array(reals)) => reals,
                    _ => Vec::new(),
                };
                let reals = reals.into_iter().filter_map(|real| {
                    let place = place(&real)?;
                    match real {
                        Value::Object(keys) => Some((place, keys)),
                        _ => None,
                    }
                });
                let reals = reals.collect();
                if let Some(name) = service.get("name").and_then(Value::as_str) {
                    let whole = service.clone();
                    services.insert(name.to_owned(), Service { whole, keys, reals });
                }
            }
        }
        Ok(Services(services))
    }

    /// What the files say now where `change` is; `None`: there is no such place any more.
    fn says(&self, change: &RuntimeChange) -> Option<Value> {
        let service = self.0.get(&change.service);
        let section = match (service, change.real) {
            (None, None) => None,
            (None, Some(_)) => return None,
            (Some(service), None) if change.key.is_empty() => Some(service.whole.clone()),
            (Some(service), None) => Some(service.keys.clone()),
            (Some(service), Some(place)) => service.reals.get(&place).cloned(),
        };
        if change.key.is_empty() {
            return Some(section.map_or(Value::Null, Value::Object));
        }
        let mut value = &Value::Object(section?);
        for key in &change.key {
            match value.get(key) {
                Some(inner) => value = inner,
                None => return Some(Value::Null),
            }
        }
        Some(value.clone())
    }
}

/// The keys in which two sections differ.
fn differ(base: &RuntimeChange, old: &Keys, new: &Keys, changes: &mut Vec<RuntimeChange>) {
    let gone = old.keys().filter(|key| !new.contains_key(*key));
    for key in new.keys().chain(gone) {
        let (file, running) = (old.get(key), new.get(key));
        if file == running {
            continue;
        }
        let mut below = base.clone();
        below.key.push(key.clone());
        match (file, running) {
            (Some(Value::Object(file)), Some(Value::Object(running))) => {
                differ(&below, file, running, changes);
            }
            // Each key of a table for itself, also where the table comes or goes.
            (None, Some(Value::Object(running))) => {
                differ(&below, &Keys::new(), running, changes);
            }
            (Some(Value::Object(file)), None) => differ(&below, file, &Keys::new(), changes),
            (file, running) => {
                below.file = file.cloned().unwrap_or_default();
                below.running = running.cloned().unwrap_or_default();
                changes.push(below);
            }
        }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use serde_json::json;

    fn file(weight: &str) -> Sources {
        let text = format!(
            "[network]\ninterface = \"eth0\"\n\n[[service]]\nname = \"web\"\nvip = \"192.0.2.10\"\n\
             port = 80 # plain\n\n[[service.real]]\nname = \"rs1\"\naddress = \"192.0.2.21\"\n{weight}\
             \n[[service.real]]\nname = \"rs2\"\naddress = \"192.0.2.22\"\n"
        );
        Sources::one("lbd.toml", text)
    }

    fn keys(value: Value) -> Keys {
        value.as_object().unwrap().clone()
    }

    fn set_weight(weight: u32) -> Edit {
        Edit::SetReal {
            service: "web".into(),
            real: "192.0.2.21:0".parse().unwrap(),
            keys: keys(json!({ "weight": weight })),
        }
    }

    fn weight(composed: &Composed) -> u16 {
        composed.running.checked.config.services[0].reals[0].weight
    }

    #[test]
    fn a_change_holds_until_the_file_changes_that_same_key() {
        let before = file("");
        let made = Overlay::default().and(&before, &[set_weight(7)]).unwrap();
        assert_eq!((weight(&made), made.overlay.changes.len()), (7, 1));
        assert_eq!(
            made.overlay.changes[0].to_string(),
            "web/192.0.2.21 weight: 7 (the file said nothing)"
        );

        let other_key = file("").main.text.replace("port = 80", "port = 81");
        let other_key = Sources::one("lbd.toml", other_key);
        let composed = compose(&other_key, &made.overlay).unwrap();
        assert_eq!((weight(&composed), &composed.overlay), (7, &made.overlay));
        assert_eq!(composed.running.checked.config.services[0].ports, [81]);

        let composed = compose(&file("weight = 3\n"), &made.overlay).unwrap();
        assert_eq!((weight(&composed), composed.overlay.is_empty()), (3, true));
        assert_eq!(composed.overruled, made.overlay.changes);

        let caught_up = compose(&file("weight = 7\n"), &made.overlay).unwrap();
        assert!(caught_up.overlay.is_empty() && caught_up.overruled.is_empty());
    }

    #[test]
    fn the_way_back_leaves_nothing() {
        let file = file("weight = 2\n");
        let made = Overlay::default().and(&file, &[set_weight(7)]).unwrap();
        let back = made.overlay.and(&file, &[set_weight(2)]).unwrap();
        assert!(back.overlay.is_empty());
    }

    #[test]
    fn sections_come_and_go_for_the_moment() {
        let file = file("");
        let service = json!({
            "name": "dns", "vip": "192.0.2.11", "port": 53, "protocol": "udp",
            "real": [{"address": "192.0.2.31"}, {"address": "192.0.2.32"}],
        });
        let edits = [
            Edit::RemoveReal {
                service: "web".into(),
                real: "192.0.2.22:0".parse().unwrap(),
            },
            Edit::AddReal {
                service: "web".into(),
                keys: keys(json!({"address": "192.0.2.23"})),
            },
            Edit::AddService {
                keys: keys(service),
            },
            Edit::SetService {
                service: "web".into(),
                keys: keys(json!({"labels": {"team": "a"}, "scheduler": "rr"})),
            },
        ];
        let made = Overlay::default().and(&file, &edits).unwrap();
        let again = compose(&file, &made.overlay).unwrap();
        assert_eq!(again.overlay, made.overlay);
        let config = &again.running.checked.config;
        assert!(diff(&made.running.checked.config, config).is_empty());
        let told = drift(&file.check().unwrap().config, config);
        let told: Vec<String> = told.iter().map(|(key, ..)| key.clone()).collect();
        assert_eq!(
            told,
            [
                "web labels",
                "web scheduler",
                "web/192.0.2.23",
                "web/rs2",
                "dns"
            ]
        );
        let json = serde_json::to_string(&made.overlay).unwrap();
        assert_eq!(
            serde_json::from_str::<Overlay>(&json).unwrap(),
            made.overlay
        );
    }

    #[test]
    fn what_does_not_go_together_with_the_file_any_more_gives_way() {
        let before = file("");
        let added = Edit::AddReal {
            service: "web".into(),
            keys: keys(json!({"name": "new", "address": "192.0.2.23"})),
        };
        let made = Overlay::default()
            .and(&before, &[added, set_weight(7)])
            .unwrap();
        let taken = file("").main.text.replace("\"rs2\"", "\"new\"");
        let composed = compose(&Sources::one("lbd.toml", taken), &made.overlay).unwrap();
        assert_eq!(weight(&composed), 7);
        assert_eq!(composed.overruled.len(), 1);
        assert_eq!(composed.running.checked.config.services[0].reals.len(), 2);
    }

    #[test]
    fn a_renamed_service_keeps_what_was_changed() {
        let mut made = Overlay::default().and(&file(""), &[set_weight(7)]).unwrap();
        made.overlay.follow_rename("web", "shop");
        let renamed = file("").main.text.replace("\"web\"", "\"shop\"");
        let composed = compose(&Sources::one("lbd.toml", renamed), &made.overlay).unwrap();
        assert_eq!(weight(&composed), 7);
    }
}
