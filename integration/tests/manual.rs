//! Manual pages and the JSON schema: made by the programs themselves, judged by those who read them.

use integration::daemon::binary;
use serde_json::Value;
use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

fn output(command: &mut Command) -> Output {
    let output = command.output();
    output.unwrap_or_else(|e| panic!("{command:?}: {e}"))
}

fn words(output: &Output) -> String {
    let said = [&output.stdout[..], &output.stderr[..]].concat();
    String::from_utf8_lossy(&said).into_owned()
}

/// All pages, in a directory.
fn pages() -> (tempfile::TempDir, Vec<PathBuf>) {
    let directory = tempfile::tempdir().expect("a directory");
    let made = output(
        Command::new(binary("lbctl"))
            .args(["man", "--date", "2026-11-28"])
            .arg(directory.path()),
    );
    assert!(made.status.success(), "{}", words(&made));
    let lbd = output(Command::new(binary("lbd")).args(["man", "--date", "2026-11-28"]));
    std::fs::write(directory.path().join("lbd.8"), &lbd.stdout).expect("written");
    let entries = std::fs::read_dir(directory.path()).expect("a directory");
    let pages = entries
        .map(|entry| entry.expect("an entry").path())
        .collect();
    (directory, pages)
}

/// The page as a terminal shows it, and what man says against it.
fn shown(page: &Path) -> (String, String) {
    let mut man = Command::new("man");
    man.args(["--warnings", "-E", "UTF-8", "-l", "-P", "cat"])
        .arg(page);
    man.envs([
        ("MANWIDTH", "100"),
        ("LC_ALL", "C.UTF-8"),
        ("MANROFFOPT", "-c"),
    ]);
    let output = output(&mut man);
    assert!(
        output.status.success(),
        "{}: {}",
        page.display(),
        words(&output)
    );
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    (text, String::from_utf8_lossy(&output.stderr).into_owned())
}

#[test]
fn pages_are_clean() {
    let (_directory, pages) = pages();
    assert!(pages.len() > 20, "{pages:?}");
    for page in &pages {
        let (text, warnings) = shown(page);
        assert_eq!(warnings, "", "{}", page.display());
        assert!(text.contains("NAME") && text.contains("SEE ALSO"), "{text}");
    }
    let lint = output(
        Command::new("mandoc")
            .args(["-T", "lint", "-W", "warning"])
            .args(&pages),
    );
    let said = words(&lint);
    let complaints: Vec<&str> = said
        .lines()
        .filter(|l| !l.contains("missing date"))
        .collect();
    assert_eq!(complaints, Vec::<&str>::new());
}

/// The commands below `words`, as `--help` lists them.
fn commands(words: &[&str]) -> Vec<String> {
    let help = output(Command::new(binary("lbctl")).args(words).arg("--help"));
    let help = String::from_utf8_lossy(&help.stdout).into_owned();
    let Some((_, list)) = help.split_once("Commands:\n") else {
        return Vec::new();
    };
    let entries = list.lines().take_while(|line| !line.is_empty());
    let names = entries.filter(|line| line.starts_with("  ") && !line.starts_with("   "));
    let names = names.filter_map(|line| line.split_whitespace().next());
    names
        .filter(|name| *name != "help")
        .map(str::to_owned)
        .collect()
}

#[test]
fn every_command_has_its_page() {
    let (directory, _) = pages();
    let root = commands(&[]);
    assert!(root.len() > 10, "{root:?}");
    let page = |words: &[&str]| {
        let path = directory
            .path()
            .join(format!("lbctl-{}.1", words.join("-")));
        assert!(path.exists(), "no page of lbctl {}", words.join(" "));
        path
    };
    for noun in &root {
        page(&[noun.as_str()]);
        for verb in commands(&[noun.as_str()]) {
            page(&[noun.as_str(), verb.as_str()]);
        }
    }
    let (text, _) = shown(&directory.path().join("lbctl.1"));
    for wanted in [
        "lbctl-status(1)",
        "78 bad configuration",
        "LBCTL_SOCKET",
        "--output",
    ] {
        assert!(
            text.contains(wanted),
            "{wanted} is not in lbctl(1):\n{text}"
        );
    }
    let (text, _) = shown(&page(&["real", "drain"]));
    for wanted in ["lbctl real drain", "--wait", "lbctl(1)"] {
        assert!(
            text.contains(wanted),
            "{wanted} is not in lbctl-real-drain(1):\n{text}"
        );
    }
    // man finds it as it is typed.
    let section = directory.path().join("man1");
    std::fs::create_dir(&section).expect("a directory");
    let file = page(&["real", "drain"]);
    std::fs::copy(&file, section.join("lbctl-real-drain.1")).expect("copied");
    let mut man = Command::new("man");
    man.arg("-M")
        .arg(directory.path())
        .args(["-w", "lbctl-real-drain"]);
    let found = output(&mut man);
    assert!(
        words(&found).contains("man1/lbctl-real-drain.1"),
        "{}",
        words(&found)
    );

    let (text, _) = shown(&directory.path().join("lbd.8"));
    for wanted in [
        "--strict",
        "SIGTERM",
        "lbd cleanup",
        "69 something needed",
        "/var/lib/lbd",
    ] {
        assert!(text.contains(wanted), "{wanted} is not in lbd(8):\n{text}");
    }
}

fn schema() -> Value {
    let printed = output(Command::new(binary("lbctl")).args(["config", "schema"]));
    assert!(printed.status.success(), "{}", words(&printed));
    serde_json::from_slice(&printed.stdout).expect("JSON")
}

/// Every key of the schema, section by section.
fn keys(section: &Value, found: &mut BTreeSet<String>) {
    for (name, key) in section["properties"].as_object().into_iter().flatten() {
        found.insert(name.clone());
        keys(key, found);
        keys(&key["items"], found);
    }
}

#[test]
fn lbd_toml_5_has_every_key() {
    let (directory, _) = pages();
    let (text, _) = shown(&directory.path().join("lbd.toml.5"));
    let mut all = BTreeSet::new();
    keys(&schema(), &mut all);
    assert!(all.len() > 60, "{all:?}");
    // Of a version to come.
    all.remove("max_new_flows_per_source");
    for key in all {
        let section =
            ["lbd", "network", "service", "check", "real", "proxy"].contains(&key.as_str());
        let told = text
            .lines()
            .any(|line| line.split_whitespace().next() == Some(key.as_str()));
        assert!(told || section, "`{key}` is not in lbd.toml(5):\n{text}");
    }
    for wanted in [
        "[[service.real]]",
        "Default: \"maglev\".",
        "of type dns",
        "interface = \"eth0\"",
    ] {
        assert!(
            text.contains(wanted),
            "{wanted} is not in lbd.toml(5):\n{text}"
        );
    }
}

/// Whether the files pass the schema, in the eyes of Python's validator; and what it says.
fn validate(schema: &Path, instances: &[PathBuf]) -> (bool, String) {
    let mut jsonschema = Command::new("jsonschema");
    for instance in instances {
        jsonschema.arg("-i").arg(instance);
    }
    let judged = output(jsonschema.arg(schema));
    (judged.status.success(), words(&judged))
}

#[test]
fn the_schema_takes_samples_and_refuses_what_it_can_know() {
    let directory = tempfile::tempdir().expect("a directory");
    let at = |name: &str| directory.path().join(name);
    let schema_file = at("schema.json");
    std::fs::write(&schema_file, schema().to_string()).expect("written");
    let instance = |name: &str, text: &str| {
        let table: toml::Table = toml::from_str(text).expect("TOML");
        let json = serde_json::to_string(&table).expect("JSON");
        std::fs::write(at(name), json).expect("written");
        at(name)
    };

    let root = Path::new(env!("CARGO_MANIFEST_DIR"))
        .parent()
        .expect("the workspace");
    let mut samples = vec![root.join("packaging/deb/lbd.toml")];
    for entry in std::fs::read_dir(root.join("config")).expect("config/") {
        samples.push(entry.expect("an entry").path());
    }
    assert!(samples.len() >= 4, "{samples:?}");
    let good: Vec<PathBuf> = samples
        .iter()
        .enumerate()
        .map(|(n, sample)| {
            let text = std::fs::read_to_string(sample).expect("a sample");
            assert!(
                text.starts_with("#:schema /usr/share/lbd/"),
                "{}",
                sample.display()
            );
            instance(&format!("good{n}.json"), &text)
        })
        .collect();
    let (valid, said) = validate(&schema_file, &good);
    assert!(valid, "{said}");

    let service = "[[service]]\nname = \"w\"\nvip = \"192.0.2.1\"\nport = 80\n";
    let wrong = [
        ("[lbd]\nrundir = \"/run/lbd\"".to_owned(), "an unknown key"),
        ("[lbd]\nwatch = \"true\"".to_owned(), "a string for true"),
        ("[lbd]\nrun_dir = \"run\"".to_owned(), "a relative path"),
        (
            "[lbd]\nshutdown_timeout = \"30\"".to_owned(),
            "a duration without a unit",
        ),
        (
            "[network]\nring_mib = 0".to_owned(),
            "a number out of range",
        ),
        ("[[service]]\nname = \"w\"\nport = 80".to_owned(), "no vip"),
        (service.replace("80", "[80, 80]"), "a port twice"),
        (
            service.replace("192.0.2.1", "shop.example"),
            "a name for a VIP",
        ),
        (
            format!("{service}mode = \"nat\""),
            "a word it does not take",
        ),
        (
            format!("{service}check = [{{ port = 80 }}]"),
            "a check of no type",
        ),
        (
            format!("{service}check = [{{ type = \"tcp\", path = \"/\" }}]"),
            "a key of another check",
        ),
        (
            format!("{service}check = [{{ type = \"dns\" }}]"),
            "a check that lacks its key",
        ),
        (
            format!("{service}real = [{{ address = \"192.0.2.2\", mac = \"02\" }}]"),
            "half a MAC",
        ),
    ];
    for (n, (text, what)) in wrong.iter().enumerate() {
        let file = instance(&format!("wrong{n}.json"), text);
        let (valid, _) = validate(&schema_file, &[file]);
        assert!(!valid, "the schema takes {what}: {text}");
        std::fs::write(at("wrong.toml"), text).expect("written");
        let mut check = Command::new(binary("lbctl"));
        let check = output(check.args(["config", "check"]).arg(at("wrong.toml")));
        assert_eq!(check.status.code(), Some(78), "lbctl takes {what}: {text}");
    }
}
