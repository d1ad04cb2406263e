//! Completion, in the shells themselves, with the names of a running lbd.

use integration::conf::{Conf, ServiceConf};
use integration::daemon::{Daemon, binary};
use integration::stage::PORT;
use integration::topology::Wire;
use integration::wait::wait_for;
use integration::{isolated, wait_until};
use std::os::unix::net::UnixListener;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

/// What bash offers after this line: as readline asks, by the words it takes apart itself.
const BASH: &str = r#"
source <(lbctl completion bash) || exit 9
COMP_WORDBREAKS=$' \t\n"\'><=;|&(:'
COMP_LINE=$1 COMP_POINT=${#1} COMP_TYPE=9 COMP_KEY=9
python=$(python3 - "$1" <<'PYTHON'
import re, shlex, sys
line = sys.argv[1]
# Blanks part words; so do : and =, which are words of their own (COMP_WORDBREAKS).
words = [w for w in re.split(r"\s+|([:=]+)", line) if w]
if line.endswith((" ", ":", "=")):
    words.append("")
print(" ".join(shlex.quote(w) for w in words))
PYTHON
)
eval "COMP_WORDS=($python)"
COMP_CWORD=$((${#COMP_WORDS[@]} - 1))
cur=${COMP_WORDS[COMP_CWORD]}
_lbctl lbctl "$cur" "${COMP_WORDS[COMP_CWORD - 1]}" 2>/dev/null
printf '%s\n' "${COMPREPLY[@]}"
"#;

/// What zsh offers after these words, by the file as it stands on zsh's fpath. Its completion system
/// works only while somebody types: the two functions of it that are called are stood in for.
const ZSH: &str = r#"
compdef() { :; }
_describe() { print -rl -- "${(@P)@[-1]}"; }
fpath=($1 $fpath)
autoload -Uz _lbctl
shift
words=("$@")
CURRENT=$#words
_lbctl
"#;

/// The `lbctl` of this build, where shells find it.
fn path() -> String {
    let here = binary("lbctl");
    let directory = here.parent().expect("a directory").display().to_string();
    format!("{directory}:{}", std::env::var("PATH").unwrap_or_default())
}

fn said(command: &mut Command, socket: &Path) -> String {
    let output = command
        .env("PATH", path())
        .env("LBCTL_SOCKET", socket)
        .stdin(Stdio::null())
        .output()
        .unwrap_or_else(|e| panic!("{command:?}: {e}"));
    let mut text = String::from_utf8_lossy(&output.stdout).into_owned();
    // An error on the terminal would tear the line somebody types on.
    text += &String::from_utf8_lossy(&output.stderr);
    text
}

fn bash(line: &str, socket: &Path) -> Vec<String> {
    let offered = said(
        Command::new("bash").args(["--norc", "-c", BASH, "bash", line]),
        socket,
    );
    let offered = offered.lines().filter(|offer| !offer.is_empty());
    offered.map(str::to_owned).collect()
}

/// What is offered without options.
fn names(offered: Vec<String>) -> Vec<String> {
    let names = offered.into_iter().filter(|offer| !offer.starts_with('-'));
    names.collect()
}

fn fish(line: &str, socket: &Path) -> Vec<String> {
    let script = "lbctl completion fish | source; complete --do-complete $argv[1]";
    let home = tempfile::tempdir().expect("a directory");
    let mut fish = Command::new("fish");
    fish.args(["--no-config", "-c", script, line])
        .env("HOME", home.path());
    let offered = said(&mut fish, socket);
    let values = offered.lines().filter_map(|offer| offer.split('\t').next());
    values.map(str::to_owned).collect()
}

/// What is offered, once anything is: lbctl gives lbd one second, and offers no names after that.
fn in_the_end(line: &str, offered: impl Fn() -> Vec<String>) -> Vec<String> {
    let what = format!("something is offered after {line}");
    let (offered, _) = wait_for(&what, Duration::from_secs(20), || {
        let offered = offered();
        let any = offered.iter().any(|offer| !offer.is_empty());
        any.then_some(offered)
    });
    offered
}

fn wire_and_lbd() -> (Wire, Daemon) {
    let wire = Wire::new();
    let conf = Conf::one(ServiceConf::tcp("web", PORT).pinned_reals(1..=3))
        .service(ServiceConf::udp("dns", 53).pinned_reals(4..=5));
    let lbd = Daemon::start(&wire.lb, &conf);
    (wire, lbd)
}

/// What is offered after some lines: the same in every shell.
const LINES: &[(&str, &[&str])] = &[
    ("lbctl real dr", &["drain"]),
    ("lbctl service show ", &["dns", "web"]),
    ("lbctl service show w", &["web"]),
    ("lbctl real drain w", &["web"]),
    ("lbctl real drain web ", &["rs1", "rs2", "rs3"]),
    ("lbctl real drain dns rs", &["rs4", "rs5"]),
    ("lbctl flows --service d", &["dns"]),
    ("lbctl flows --service dns --real ", &["rs4", "rs5"]),
    ("lbctl -o json health --service ", &["dns", "web"]),
    ("lbctl vip release ", &["192.0.2.10"]),
    ("lbctl completion z", &["zsh"]),
];

#[test]
fn shells_offer_names_of_the_running_lbd() {
    isolated(|| {
        let (_wire, lbd) = wire_and_lbd();
        let socket = lbd.socket_path();
        for (line, wanted) in LINES {
            let offered = in_the_end(line, || names(bash(line, &socket)));
            assert_eq!(offered, *wanted, "bash: {line}");
            let offered = in_the_end(line, || names(fish(line, &socket)));
            assert_eq!(offered, *wanted, "fish: {line}");
        }
        // bash puts back only what stands behind the last colon.
        let line = "lbctl explain tcp 198.51.100.7:40000 192.0.2.10:";
        let offered = in_the_end(line, || bash(line, &socket));
        assert_eq!(offered, ["80"], "{line}");
        assert_eq!(bash("lbctl status --output=j", &socket), ["json"]);
        // A socket on the line counts.
        let line = format!("lbctl --socket {} service show ", socket.display());
        let offered = in_the_end(&line, || names(bash(&line, Path::new("/nowhere"))));
        assert_eq!(offered, ["dns", "web"]);

        let directory = tempfile::tempdir().expect("a directory");
        let script = said(
            Command::new(binary("lbctl")).args(["completion", "zsh"]),
            &socket,
        );
        std::fs::write(directory.path().join("_lbctl"), script).expect("written");
        let functions = directory.path().display().to_string();
        for (words, wanted) in [
            (
                &["real", "drain", "web", ""][..],
                &["rs1:192.0.2.21, unchecked", "rs2", "rs3"][..],
            ),
            (&["service", "show", "d"], &["dns:192.0.2.10:53/udp"]),
        ] {
            let offered = in_the_end(&words.join(" "), || {
                let mut zsh = Command::new("zsh");
                zsh.args(["-f", "-c", ZSH, "zsh", &functions, "lbctl"])
                    .args(words);
                let offered = said(&mut zsh, &socket);
                names(offered.lines().map(str::to_owned).collect())
            });
            assert_eq!(offered.len(), wanted.len(), "zsh: {words:?}: {offered:?}");
            for (name, wanted) in offered.iter().zip(wanted) {
                assert!(
                    name.starts_with(wanted),
                    "zsh: {words:?}: {name} for {wanted}"
                );
            }
        }
    });
}

#[test]
fn without_lbd_completion_is_quick_and_silent() {
    let directory = tempfile::tempdir().expect("a directory");
    let nobody = directory.path().join("nobody.sock");
    let silent = directory.path().join("silent.sock");
    // Takes connections, and says nothing.
    let _listener = UnixListener::bind(&silent).expect("a socket");
    for (socket, longest) in [(nobody, 1), (silent, 3)] {
        // Half of a second for bash itself, on a busy machine; of several, one that was not held up.
        let what = format!("it is quick with {}", socket.display());
        wait_until(&what, Duration::from_secs(30), || {
            let started = Instant::now();
            let offered = bash("lbctl service show ", &socket);
            let took = started.elapsed();
            assert_eq!(names(offered), Vec::<String>::new());
            took < Duration::from_secs(longest)
        });
        assert_eq!(bash("lbctl real dr", &socket), ["drain"]);
    }
}
