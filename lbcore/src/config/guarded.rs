//! What nobody changes over the control socket: whoever may use it need not be allowed to run
//! programs as lbd, or to say who may do what and where lbd keeps its files. Who may write the file may.

use super::written::{lbd, network};
use super::{CheckKind, Config, Service};

/// The keys of `new` that nobody may change over the control socket, and that are other than in
/// `old`: all of `[lbd]`, the hash key's file, and every command that is to be run.
pub fn guarded(old: &Config, new: &Config) -> Vec<String> {
    let lbd = lbd(&old.lbd).into_iter().zip(lbd(&new.lbd));
    let lbd = lbd.map(|(old, new)| (format!("lbd.{}", old.0), old.1 != new.1));
    let network = network(&old.network)
        .into_iter()
        .zip(network(&new.network))
        .filter(|(old, _)| old.0 == "hash_key_file")
        .map(|(old, new)| (format!("network.{}", old.0), old.1 != new.1));
    let keys = lbd.chain(network);
    let keys = keys.filter_map(|(key, differs)| differs.then_some(key));
    let commands = new.services.iter().filter(|service| {
        let before = old.services.iter().find(|old| old.name == service.name);
        let known = before.map(commands).unwrap_or_default();
        commands(service).iter().any(|c| !known.contains(c))
    });
    let commands = commands.map(|s| format!("service[{}].check.command", s.name));
    keys.chain(commands).collect()
}

fn commands(service: &Service) -> Vec<&[String]> {
    let checks = service.checks.iter();
    let command = checks.filter_map(|check| match &check.kind {
        CheckKind::Exec(exec) => Some(exec.command.as_slice()),
        _ => None,
    });
    command.collect()
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use crate::config::parse;

    const BASE: &str = "[lbd]\nallow_exec = true\n[network]\ninterface = \"eth0\"\n\
        [[service]]\nname = \"a\"\nvip = \"192.0.2.10\"\nport = 80\nprotocol = \"tcp\"\n\
        [[service.check]]\ntype = \"exec\"\ncommand = [\"/bin/a\"]\n\
        [[service.real]]\naddress = \"192.0.2.21\"\n\
        [[service]]\nname = \"b\"\nvip = \"192.0.2.11\"\nport = 80\nprotocol = \"tcp\"\n\
        [[service.check]]\ntype = \"tcp\"\n";

    #[test]
    fn commands_and_the_daemons_own_keys_are_guarded_and_nothing_else_is() {
        let old = parse(BASE).unwrap();
        for (from, to, guards) in [
            ("", "", &[][..]),
            ("\"192.0.2.21\"", "\"192.0.2.22\"", &[]),
            ("\"eth0\"", "\"eth1\"", &[]),
            (
                "type = \"exec\"\ncommand = [\"/bin/a\"]",
                "type = \"tcp\"",
                &[],
            ),
            ("\"/bin/a\"", "\"/bin/b\"", &["service[a].check.command"]),
            (
                "[\"/bin/a\"]",
                "[\"/bin/a\", \"-x\"]",
                &["service[a].check.command"],
            ),
            (
                "name = \"a\"",
                "name = \"c\"",
                &["service[c].check.command"],
            ),
            (
                "type = \"tcp\"",
                "type = \"exec\"\ncommand = [\"/bin/a\"]",
                &["service[b].check.command"],
            ),
            (
                "[lbd]\n",
                "[lbd]\nadmin_group = \"all\"\n",
                &["lbd.admin_group"],
            ),
            (
                "[lbd]\n",
                "[lbd]\nstate_dir = \"/tmp/s\"\nrun_dir = \"/tmp/r\"\n",
                &["lbd.run_dir", "lbd.state_dir"],
            ),
            (
                "\"eth0\"\n",
                "\"eth0\"\nhash_key_file = \"/tmp/key\"\n",
                &["network.hash_key_file"],
            ),
        ] {
            let text = BASE.replacen(from, to, 1);
            let new = parse(&text).unwrap_or_else(|e| panic!("{e:?}\n{text}"));
            assert_eq!(guarded(&old, &new), guards, "{text}");
        }
        let without = BASE.replacen("allow_exec = true\n", "", 1);
        let without = without.replacen(
            "type = \"exec\"\ncommand = [\"/bin/a\"]",
            "type = \"tcp\"",
            1,
        );
        assert_eq!(guarded(&parse(&without).unwrap(), &old).len(), 2);
    }
}
