//! A flag for every key of the configuration, made of the list of keys that the file's own check
//! reads: `--dead-grace 5s` is `dead_grace = "5s"`.

use clap::error::ErrorKind;
use clap::{Arg, ArgAction, ArgMatches, Args, Command, Error, FromArgMatches};
use lbcore::config::{Key, Keys, Typed, TypedSection};
use serde_json::Value;

/// Keys of a service and of its proxy, as typed.
#[derive(Clone, Debug, Default)]
pub struct ServiceFlags(pub Keys);

/// Keys of a real, as typed.
#[derive(Clone, Debug, Default)]
pub struct RealFlags(pub Keys);

impl Args for ServiceFlags {
    fn augment_args(command: Command) -> Command {
        let command = augment(command, TypedSection::Service, "");
        augment(command, TypedSection::Proxy, PROXY)
    }

    fn augment_args_for_update(command: Command) -> Command {
        Self::augment_args(command)
    }
}

impl FromArgMatches for ServiceFlags {
    fn from_arg_matches(matches: &ArgMatches) -> Result<Self, Error> {
        let mut keys = typed(matches, TypedSection::Service, "")?;
        let proxy = typed(matches, TypedSection::Proxy, PROXY)?;
        if !proxy.is_empty() {
            keys.insert("proxy".to_owned(), Value::Object(proxy));
        }
        Ok(ServiceFlags(keys))
    }

    fn update_from_arg_matches(&mut self, matches: &ArgMatches) -> Result<(), Error> {
        *self = Self::from_arg_matches(matches)?;
        Ok(())
    }
}

impl Args for RealFlags {
    fn augment_args(command: Command) -> Command {
        augment(command, TypedSection::Real, "")
    }

    fn augment_args_for_update(command: Command) -> Command {
        Self::augment_args(command)
    }
}

impl FromArgMatches for RealFlags {
    fn from_arg_matches(matches: &ArgMatches) -> Result<Self, Error> {
        typed(matches, TypedSection::Real, "").map(RealFlags)
    }

    fn update_from_arg_matches(&mut self, matches: &ArgMatches) -> Result<(), Error> {
        *self = Self::from_arg_matches(matches)?;
        Ok(())
    }
}

/// What flags of `[service.proxy]` begin with.
const PROXY: &str = "proxy-";

/// The name of an argument: apart from those of the command's own.
fn id(prefix: &str, key: &Key) -> String {
    format!("key-{prefix}{}", key.name)
}

/// Keys that have a flag of their own: `proxy` has one for each of its keys instead.
fn flagged(section: TypedSection) -> impl Iterator<Item = &'static Key> {
    let keys = section.keys().iter();
    keys.filter(|key| key.typed() != Typed::Section)
}

fn augment(mut command: Command, section: TypedSection, prefix: &str) -> Command {
    for key in flagged(section) {
        let arg = Arg::new(id(prefix, key))
            .long(format!("{prefix}{}", key.name.replace('_', "-")))
            .help(key.about)
            .help_heading("Keys of the configuration")
            .allow_hyphen_values(key.typed() != Typed::Flag);
        command = command.arg(match key.typed() {
            Typed::Flag => arg
                .value_name("true|false")
                .num_args(0..=1)
                .require_equals(true)
                .default_missing_value("true"),
            Typed::Sections => arg.value_name("KEY=VALUE,..").action(ArgAction::Append),
            Typed::Number => arg.value_name("N"),
            Typed::Map => arg.value_name("KEY=VALUE,.."),
            _ => arg.value_name(key.name.to_uppercase()),
        });
    }
    command
}

fn typed(matches: &ArgMatches, section: TypedSection, prefix: &str) -> Result<Keys, Error> {
    let mut keys = Keys::new();
    for key in flagged(section) {
        let Some(texts) = matches.get_many::<String>(&id(prefix, key)) else {
            continue;
        };
        let values: Result<Vec<Value>, String> =
            texts.map(|text| section.value(key, text)).collect();
        let mut values = values.map_err(|why| {
            let flag = format!("--{prefix}{}", key.name.replace('_', "-"));
            Error::raw(ErrorKind::ValueValidation, format!("{flag}: {why}\n"))
        })?;
        let value = match (key.typed(), values.len()) {
            (Typed::Sections, _) => Value::Array(values),
            _ => values.pop().unwrap_or_default(),
        };
        keys.insert(key.name.to_owned(), value);
    }
    Ok(keys)
}
