//! Keys as they are typed on a command line.

use super::super::edit::Keys;
use super::super::kind::Kind;
use super::{CHECK, Key, PROXY, REAL, SERVICE, Shape, Typed};
use serde_json::Value;

/// A section whose keys can be typed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TypedSection {
    /// `[[service]]`
    Service,
    /// `[service.proxy]`
    Proxy,
    /// `[[service.real]]`
    Real,
    /// `[[service.check]]`
    Check,
}

impl TypedSection {
    fn shape(self) -> &'static Shape {
        match self {
            TypedSection::Service => &SERVICE,
            TypedSection::Proxy => &PROXY,
            TypedSection::Real => &REAL,
            TypedSection::Check => &CHECK,
        }
    }

    /// Its keys, in the order of the file.
    pub fn keys(self) -> &'static [Key] {
        self.shape().keys
    }

    /// What `text` typed for `key` stands for. What is of the wrong kind stays text: the check of
    /// the configuration says what is wrong with it.
    ///
    /// # Errors
    /// A pair of a section in the section that is no pair.
    pub fn value(self, key: &Key, text: &str) -> Result<Value, String> {
        let pieces = || text.split(',').map(str::trim);
        Ok(match key.kind {
            Kind::Integer(..) => number(text),
            Kind::Bool => flag(text),
            Kind::List(_) => pieces().map(Value::from).collect(),
            Kind::OneOrMore(Kind::Integer(..)) | Kind::Expect => one_or_more(pieces().map(number)),
            Kind::OneOrMore(_) => one_or_more(pieces().map(Value::from)),
            Kind::Texts => Value::Object(pairs(key.name, pieces())?),
            Kind::Table(_) => Value::Object(TypedSection::Proxy.section(text)?),
            Kind::Tables(_) if key.name == "check" => {
                Value::Object(TypedSection::Check.section(text)?)
            }
            Kind::Tables(_) => Value::Object(TypedSection::Real.section(text)?),
            Kind::Text
            | Kind::Duration
            | Kind::Path
            | Kind::Words(_)
            | Kind::Address
            | Kind::Network
            | Kind::Listen
            | Kind::Mac => text.into(),
        })
    }

    /// A whole section as it is typed: `type=http,port=80,path=/healthz`, where a piece without a
    /// key goes on with a list (`expect=200,301`), or a JSON object. A first word alone is the
    /// type of a check, the address of a real.
    ///
    /// # Errors
    /// What is wrong with it.
    pub fn section(self, text: &str) -> Result<Keys, String> {
        if text.trim_start().starts_with('{') {
            return serde_json::from_str(text).map_err(|e| format!("no JSON object: {e}"));
        }
        let mut typed: Vec<(String, String)> = Vec::new();
        for piece in text.split(',').map(str::trim) {
            match (piece.split_once('='), typed.last_mut()) {
                (Some((key, value)), _) => typed.push((key.trim().into(), value.trim().into())),
                (None, Some((_, last))) => {
                    last.push(',');
                    last.push_str(piece);
                }
                (None, None) => {
                    let first = match self {
                        TypedSection::Check => "type",
                        TypedSection::Real => "address",
                        _ => return Err(format!("{piece:?} is no KEY=VALUE")),
                    };
                    typed.push((first.into(), piece.into()));
                }
            }
        }
        let mut keys = Keys::new();
        for (name, text) in typed {
            let (name, inner) = match name.split_once('.') {
                Some((name, inner)) => (name, Some(inner)),
                None => (name.as_str(), None),
            };
            let key = self.find(name)?;
            match inner {
                Some(inner) => {
                    let table = keys
                        .entry(name)
                        .or_insert_with(|| Value::Object(Keys::new()));
                    if let Some(table) = table.as_object_mut() {
                        table.insert(inner.to_owned(), text.into());
                    }
                }
                None => {
                    keys.insert(name.to_owned(), self.value(key, &text)?);
                }
            }
        }
        Ok(keys)
    }

    /// The patch that takes a key out: `weight`, `proxy.retries`, `labels.team`.
    ///
    /// # Errors
    /// There is no such key.
    pub fn unset(self, path: &str) -> Result<Keys, String> {
        let (name, inner) = match path.split_once('.') {
            Some((name, inner)) => (name, Some(inner)),
            None => (path, None),
        };
        let key = self.find(name)?;
        let value = match (inner, key.typed()) {
            (None, _) => Value::Null,
            (Some(inner), Typed::Section) => Value::Object(TypedSection::Proxy.unset(inner)?),
            (Some(inner), Typed::Map) => {
                Value::Object(Keys::from_iter([(inner.to_owned(), Value::Null)]))
            }
            (Some(_), _) => return Err(format!("{name} has no keys of its own")),
        };
        Ok(Keys::from_iter([(name.to_owned(), value)]))
    }

    fn find(self, name: &str) -> Result<&'static Key, String> {
        let shape = self.shape();
        shape
            .key(name)
            .ok_or_else(|| shape.unknown(name).in_words())
    }
}

fn number(text: &str) -> Value {
    text.parse::<i64>()
        .map_or_else(|_| text.into(), Value::from)
}

fn flag(text: &str) -> Value {
    text.parse::<bool>()
        .map_or_else(|_| text.into(), Value::from)
}

fn one_or_more(values: impl Iterator<Item = Value>) -> Value {
    let mut values: Vec<Value> = values.collect();
    match values.len() {
        1 => values.remove(0),
        _ => Value::Array(values),
    }
}

fn pairs<'t>(key: &str, pieces: impl Iterator<Item = &'t str>) -> Result<Keys, String> {
    let pair = |piece: &str| match piece.split_once('=') {
        Some((name, value)) => Ok((name.trim().to_owned(), Value::from(value.trim()))),
        None => Err(format!("{piece:?} is no KEY=VALUE of {key}")),
    };
    pieces.map(pair).collect()
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn sections_are_typed_in_short() {
        for (section, text, meant) in [
            (TypedSection::Check, "tcp", json!({"type": "tcp"})),
            (
                TypedSection::Check,
                "type=http, port=80,path=/healthz?a=b,expect=200,300-399,headers.X-A=b",
                json!({"type": "http", "port": 80, "path": "/healthz?a=b",
                    "expect": [200, "300-399"], "headers": {"X-A": "b"}}),
            ),
            (
                TypedSection::Check,
                "exec,command=/bin/true,x",
                json!({"type": "exec", "command": ["/bin/true", "x"]}),
            ),
            (
                TypedSection::Check,
                "{\"type\": \"http\", \"body\": \"a,b=c\"}",
                json!({"type": "http", "body": "a,b=c"}),
            ),
            (
                TypedSection::Real,
                "2001:db8::1,weight=2,backup=true",
                json!({"address": "2001:db8::1", "weight": 2, "backup": true}),
            ),
        ] {
            assert_eq!(json!(section.section(text).unwrap()), meant, "{text}");
        }
        let wrong = TypedSection::Check.section("type=http,pth=/").unwrap_err();
        assert_eq!(
            wrong,
            "unknown key `pth` in [[service.check]] (did you mean `path`?)"
        );
        assert!(TypedSection::Proxy.section("x").is_err());
        assert!(TypedSection::Check.section("{").is_err());
    }

    #[test]
    fn values_are_what_their_keys_take() {
        let value = |key: &str, text: &str| {
            let key = SERVICE.key(key).unwrap();
            TypedSection::Service.value(key, text)
        };
        for (key, text, meant) in [
            ("port", "80", json!(80)),
            ("port", "80,443", json!([80, 443])),
            ("port", "http", json!("http")),
            (
                "vip",
                "192.0.2.1, 2001:db8::1",
                json!(["192.0.2.1", "2001:db8::1"]),
            ),
            ("passive", "true", json!(true)),
            ("passive", "yes", json!("yes")),
            ("description", "a, b = c", json!("a, b = c")),
            ("labels", "team=a,rack=b", json!({"team": "a", "rack": "b"})),
            ("min_healthy", "-1", json!(-1)),
        ] {
            assert_eq!(value(key, text), Ok(meant), "{key} {text}");
        }
        assert!(value("labels", "team").is_err());
    }

    #[test]
    fn keys_are_unset_by_their_path() {
        let unset = |path: &str| TypedSection::Service.unset(path).map(|keys| json!(keys));
        assert_eq!(unset("scheduler"), Ok(json!({"scheduler": null})));
        assert_eq!(
            unset("proxy.retries"),
            Ok(json!({"proxy": {"retries": null}}))
        );
        assert_eq!(unset("labels.a.b"), Ok(json!({"labels": {"a.b": null}})));
        for wrong in ["schedular", "proxy.retry", "port.x"] {
            assert!(unset(wrong).is_err(), "{wrong}");
        }
    }
}
