//! A change for good ends what was changed for the moment about the same keys.

use super::edit::{Edit, Keys};
use super::overlay::{Overlay, RuntimeChange};
use serde_json::Value;

impl Overlay {
    /// What is still for the moment once `edits` are made for good.
    #[must_use]
    pub fn without(&self, edits: &[Edit]) -> Overlay {
        let changes = self.changes.iter();
        let still = changes.filter(|change| !edits.iter().any(|edit| supersedes(edit, change)));
        Overlay {
            changes: still.cloned().collect(),
        }
    }
}

fn supersedes(edit: &Edit, change: &RuntimeChange) -> bool {
    match edit {
        Edit::SetService { service, keys } => {
            *service == change.service && change.real.is_none() && names(keys, &change.key)
        }
        Edit::SetReal {
            service,
            real,
            keys,
        } => *service == change.service && change.real == Some(*real) && names(keys, &change.key),
        Edit::RemoveService { service } => *service == change.service,
        Edit::RemoveReal { service, real } => {
            *service == change.service && change.real == Some(*real)
        }
        // What is new in the file overrules by itself.
        Edit::AddService { .. } | Edit::AddReal { .. } => false,
    }
}

/// Whether `keys` say something about the key at `path`.
fn names(keys: &Keys, path: &[String]) -> bool {
    let Some((first, rest)) = path.split_first() else {
        return false;
    };
    match keys.get(first) {
        None => false,
        Some(Value::Object(inner)) if !rest.is_empty() => names(inner, rest),
        Some(_) => true,
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use crate::config::Sources;
    use serde_json::json;

    const FILE: &str = "[network]\ninterface = \"eth0\"\n[[service]]\nname = \"web\"\n\
        vip = \"192.0.2.10\"\nport = 80\nprotocol = \"tcp\"\nmode = \"tproxy\"\n\
        [[service.real]]\naddress = \"192.0.2.21\"\n[[service.real]]\naddress = \"192.0.2.22\"\n";

    fn keys(value: Value) -> Keys {
        value.as_object().unwrap().clone()
    }

    fn set_real(real: &str, value: Value) -> Edit {
        Edit::SetReal {
            service: "web".to_owned(),
            real: format!("{real}:0").parse().unwrap(),
            keys: keys(value),
        }
    }

    fn set(value: Value) -> Edit {
        Edit::SetService {
            service: "web".to_owned(),
            keys: keys(value),
        }
    }

    #[test]
    fn only_the_same_keys_of_the_same_section_end() {
        let file = Sources::one("lbd.toml", FILE);
        let edits = [
            set_real("192.0.2.21", json!({"weight": 7, "backup": true})),
            set_real("192.0.2.22", json!({"weight": 8})),
            set(json!({"scheduler": "rr", "proxy": {"retries": 3, "source": "self"}})),
        ];
        let overlay = Overlay::default().and(&file, &edits).unwrap().overlay;
        let left = |edits: &[Edit]| -> Vec<String> {
            let left = overlay.without(edits);
            left.changes.iter().map(|c| c.key.join(".")).collect()
        };
        let all = left(&[]);
        assert_eq!(all.len(), 6, "{all:?}");
        let one = left(&[set_real("192.0.2.21", json!({"weight": 1}))]);
        assert_eq!(one.iter().filter(|key| *key == "weight").count(), 1);
        assert_eq!(one.len(), 5);
        assert_eq!(left(&[set(json!({"weight": 1}))]).len(), 6);
        assert_eq!(left(&[set(json!({"proxy": {"retries": null}}))]).len(), 5);
        assert_eq!(left(&[set(json!({"proxy": null}))]).len(), 4);
        let gone = Edit::RemoveReal {
            service: "web".to_owned(),
            real: "192.0.2.21:0".parse().unwrap(),
        };
        assert_eq!(left(&[gone]).len(), 4);
        let gone = Edit::RemoveService {
            service: "web".to_owned(),
        };
        assert!(left(&[gone]).is_empty());
    }
}
