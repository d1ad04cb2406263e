//! What the pages say is tried: examples of configuration are checked, command lines are parsed by
//! the programs themselves, and names of metrics, keys, files, rooms and make targets must exist.

use integration::daemon::binary;
use std::collections::{BTreeMap, BTreeSet};
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

/// Programs of others that command lines on the pages may begin with.
const OTHERS: &[&str] = &[
    "apt-get",
    "cp",
    "mkdir",
    "curl",
    "ethtool",
    "ip",
    "iptables",
    "ipvsadm",
    "kubectl",
    "scripts/fuzz.sh",
    "sysctl",
    "systemctl",
    "systemd-sysusers",
    "systemd-tmpfiles",
    "tcpdump",
];

/// Names of others that look like keys or metrics of ours.
const FOREIGN_NAMES: &[&str] = &[
    "fail_over_mac",
    "gro_flush_timeout",
    "napi_defer_hard_irqs",
    "xmit_hash_policy",
    "tcp_mem",
    "track_script",
];

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .parent()
        .expect("the workspace")
}

fn read(path: &Path) -> String {
    std::fs::read_to_string(path).unwrap_or_else(|e| panic!("{}: {e}", path.display()))
}

/// A page of the documentation.
struct Page {
    path: PathBuf,
    text: String,
}

/// A fenced block: its language, and its text.
struct Block<'a> {
    language: &'a str,
    lines: Vec<&'a str>,
}

fn pages() -> Vec<Page> {
    let mut paths: Vec<PathBuf> = [
        "README.md",
        "ARCHITECTURE.md",
        "CHANGELOG.md",
        "fuzz/README.md",
    ]
    .iter()
    .map(|name| root().join(name))
    .collect();
    let docs = std::fs::read_dir(root().join("docs")).expect("docs");
    paths.extend(docs.map(|entry| entry.expect("an entry").path()));
    paths.retain(|path| path.extension().is_some_and(|e| e == "md"));
    assert!(paths.len() >= 6, "{paths:?}");
    let page = |path: PathBuf| Page {
        text: read(&path),
        path,
    };
    paths.into_iter().map(page).collect()
}

impl Page {
    fn blocks(&self) -> Vec<Block<'_>> {
        let mut blocks = Vec::new();
        let mut open: Option<Block<'_>> = None;
        for line in self.text.lines() {
            match (line.strip_prefix("```"), &mut open) {
                (Some(_), Some(_)) => blocks.extend(open.take()),
                (Some(language), None) => {
                    open = Some(Block {
                        language,
                        lines: Vec::new(),
                    })
                }
                (None, Some(block)) => block.lines.push(line),
                (None, None) => {}
            }
        }
        assert!(
            open.is_none(),
            "{}: a block stays open",
            self.path.display()
        );
        blocks
    }

    /// Text between single backticks, outside blocks.
    fn spans(&self) -> Vec<&str> {
        let outside = self.text.split("```").step_by(2);
        outside
            .flat_map(|text| text.split('`').skip(1).step_by(2))
            .collect()
    }

    /// Targets of links, without those to other sites.
    fn links(&self) -> Vec<&str> {
        let targets = self.text.split("](").skip(1);
        targets
            .filter_map(|rest| rest.split_once(')'))
            .map(|(target, _)| target)
            .filter(|target| !target.contains("://"))
            .collect()
    }

    /// Command lines of the blocks meant for a shell, each as words, up to where output goes.
    fn commands(&self) -> Vec<Vec<&str>> {
        let shells = self.blocks().into_iter().filter(|b| b.language == "sh");
        let lines = shells.flat_map(|block| block.lines);
        let words = lines.map(|line| {
            let line = line.split(" #").next().unwrap_or_default();
            let line = line.split(" > ").next().unwrap_or_default();
            line.split_whitespace().filter(|w| *w != "sudo").collect()
        });
        words
            .filter(|words: &Vec<&str>| !words.is_empty())
            .collect()
    }
}

fn run(program: &str, words: &[&str], stdin: &str) -> Output {
    let mut child = Command::new(binary(program))
        .args(words)
        .env("LBCTL_SOCKET", "/nonexistent/lbd.sock")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap_or_else(|e| panic!("{program}: {e}"));
    let mut input = child.stdin.take().expect("piped");
    // Who does not read it has ended already, with an error of its own.
    let _ = input.write_all(stdin.as_bytes());
    drop(input);
    child.wait_with_output().expect("ends")
}

fn words_of(output: &Output) -> String {
    String::from_utf8_lossy(&[&output.stdout[..], &output.stderr[..]].concat()).into_owned()
}

/// What another tool wrote, where a page says it was saved.
fn given(word: &str) -> &str {
    match word {
        "cluster.json" => concat!(
            env!("CARGO_MANIFEST_DIR"),
            "/../lbcore/src/import/kubernetes/fixtures/cluster.json"
        ),
        "rules.ipvsadm" => concat!(
            env!("CARGO_MANIFEST_DIR"),
            "/../lbcore/src/import/fixtures/rules.ipvsadm"
        ),
        "keepalived.conf" => concat!(
            env!("CARGO_MANIFEST_DIR"),
            "/../lbcore/src/import/fixtures/keepalived.conf"
        ),
        "haproxy.cfg" => concat!(
            env!("CARGO_MANIFEST_DIR"),
            "/../lbcore/src/import/fixtures/haproxy.cfg"
        ),
        word => word,
    }
}

/// Whether the program takes these words as far as they go: `--help` ends its parser there.
fn assert_parses(program: &str, words: &[&str], page: &Path) {
    let mut with_help = words.to_vec();
    with_help.push("--help");
    let output = run(program, &with_help, "");
    assert!(
        output.status.success(),
        "{}: {program} {}: {}",
        page.display(),
        words.join(" "),
        words_of(&output)
    );
}

fn assert_target(name: &str, page: &Path) {
    let makefile = read(&root().join("Makefile"));
    let found = makefile.lines().any(|line| {
        line.strip_prefix(name)
            .is_some_and(|rest| rest.starts_with(':'))
    });
    assert!(found, "{}: no `make {name}`", page.display());
}

#[test]
fn configurations_are_good() {
    const NETWORK: &str = "[network]\ninterface = \"eth0\"\n";
    const SERVICE: &str = "[[service]]\nname = \"frame\"\nvip = \"192.0.2.10\"\nport = 80\n";
    let mut checked = 0;
    for page in pages() {
        for block in page.blocks() {
            if block.language != "toml" {
                continue;
            }
            let text = block.lines.join("\n");
            let first = block.lines.iter().find(|line| line.starts_with('['));
            // A part of a file gets what comes before it.
            let frame = match first {
                Some(&"[[service]]") => NETWORK.to_owned(),
                Some(line) if line.starts_with("[[service.") => [NETWORK, SERVICE].concat(),
                Some(line) if line.starts_with("[service.") => {
                    [NETWORK, SERVICE, "mode = \"tproxy\"\n"].concat()
                }
                _ => String::new(),
            };
            let output = run(
                "lbctl",
                &["config", "check", "-"],
                &format!("{frame}{text}\n"),
            );
            let said = words_of(&output);
            assert!(output.status.success(), "{}: {said}", page.path.display());
            checked += 1;
        }
    }
    assert!(checked >= 3, "{checked} examples found");
}

#[test]
fn command_lines_are_understood() {
    let mut seen = 0;
    for page in pages() {
        let at = page.path.display();
        for words in page.commands() {
            let (program, rest) = (words[0], &words[1..]);
            match program {
                "lbd" => assert_parses("lbd", rest, &page.path),
                // They would watch for ever, or write a file.
                "lbctl" if rest.contains(&"-w") || matches!(rest[0], "top" | "bundle") => {
                    assert_parses("lbctl", rest, &page.path);
                }
                "lbctl" => {
                    let rest: Vec<&str> = rest.iter().map(|word| given(word)).collect();
                    let output = run("lbctl", &rest, "");
                    let expected: &[i32] = match rest[0] {
                        // Some need lbd, some a file that is not there.
                        "config" => &[0, 1, 5],
                        // With or without a file that is not there.
                        "gen" => &[1, 5],
                        "import" => &[0],
                        "replay" => &[1],
                        "completion" => &[0],
                        // This host is what it is.
                        "doctor" if rest.contains(&"--offline") => &[0, 1],
                        _ => &[5],
                    };
                    let code = output.status.code().expect("a code");
                    let line = words.join(" ");
                    assert!(
                        expected.contains(&code),
                        "{at}: {line}: {}",
                        words_of(&output)
                    );
                }
                "make" => {
                    let target = rest.iter().find(|word| !word.contains('='));
                    assert_target(target.expect("a target"), &page.path);
                }
                other => assert!(OTHERS.contains(&other), "{at}: what is `{other}`?"),
            }
            seen += 1;
        }
        for span in page.spans() {
            let words: Vec<&str> = span.split_whitespace().collect();
            let placeholder = |w: &&str| w.contains(['|', '…']) || *w == "...";
            match words.split_first() {
                _ if words.iter().any(placeholder) => continue,
                Some((program @ (&"lbd" | &"lbctl"), rest)) if !rest.is_empty() => {
                    assert_parses(program, rest, &page.path);
                }
                Some((&"make", [target, ..])) => assert_target(target, &page.path),
                _ => continue,
            }
            seen += 1;
        }
    }
    assert!(seen > 40, "{seen} found");
}

/// Every file of the workspace's sources and shipped files, in one text.
fn sources() -> String {
    fn gather(dir: &Path, all: &mut String) {
        for entry in std::fs::read_dir(dir).expect("a directory") {
            let path = entry.expect("an entry").path();
            if path.is_dir() {
                gather(&path, all);
            } else if !path.ends_with("docs.rs")
                && let Ok(text) = std::fs::read_to_string(&path)
            {
                all.push_str(&text);
            }
        }
    }
    let mut all = String::new();
    for dir in [
        "lbcore/src",
        "lbd/src",
        "lbctl/src",
        "integration",
        "systemd",
    ] {
        gather(&root().join(dir), &mut all);
    }
    all + &read(&root().join("fuzz/Cargo.toml"))
}

/// Words of small letters, digits and underscores, beginning with a letter.
fn names(text: &str) -> BTreeSet<&str> {
    let is_name = |c: char| c.is_ascii_alphanumeric() || c == '_';
    text.split(|c| !is_name(c))
        .filter(|word| word.starts_with(|c: char| c.is_ascii_lowercase()))
        .collect()
}

#[test]
fn metrics_are_ours() {
    let rooms = [
        "lbd/src/control/metrics/families.rs",
        "lbd/src/probe/board.rs",
    ];
    let texts = rooms.map(|path| read(&root().join(path))).concat();
    let known: BTreeSet<&str> = texts.split('"').skip(1).step_by(2).collect();
    let mut seen = 0;
    for page in pages() {
        // The proxy's nft table, which is no metric.
        let text = page.text.replace("inet lbd_proxy", "");
        for name in names(&text) {
            if !name.starts_with("lbd_") {
                continue;
            }
            let series = ["_bucket", "_sum", "_count"].iter();
            let family = series.filter_map(|end| name.strip_suffix(end)).next();
            let found = known.contains(name) || family.is_some_and(|name| known.contains(name));
            assert!(found, "{}: no metric {name}", page.path.display());
            seen += 1;
        }
    }
    assert!(seen > 10, "{seen} found");
}

#[test]
fn keys_are_in_the_sources() {
    let sources = sources();
    let known = names(&sources);
    for page in pages() {
        for span in page.spans() {
            let word = span.split([' ', '=', '(', ':']).next().unwrap_or_default();
            let is_key = word.contains('_') && word == word.to_lowercase();
            if is_key && names(word).contains(word) && !FOREIGN_NAMES.contains(&word) {
                assert!(known.contains(word), "{}: no `{word}`", page.path.display());
            }
        }
    }
}

#[test]
fn the_scrape_configuration_is_good() {
    let readme = pages().swap_remove(0);
    let blocks = readme.blocks();
    let scrape = blocks.iter().find(|b| b.language == "yaml").expect("a job");
    let file = tempfile::NamedTempFile::new().expect("a file");
    std::fs::write(file.path(), scrape.lines.join("\n")).expect("written");
    let check = Command::new("promtool")
        .args(["check", "config", "--syntax-only"])
        .arg(file.path())
        .output();
    match check {
        Ok(output) => assert!(output.status.success(), "{}", words_of(&output)),
        Err(_) => println!("skipped: promtool is not installed"),
    }
}

#[test]
fn links_lead_somewhere() {
    for page in pages() {
        let from = page.path.parent().expect("a directory");
        let files = ["docs/", "config/", "systemd/", "scripts/"];
        let named = page.spans().into_iter().filter(|span| {
            let is_file = span.ends_with(".md") || span.ends_with(".sh") || span.ends_with(".toml");
            is_file && files.iter().any(|dir| span.starts_with(dir))
        });
        for link in page.links() {
            let (file, anchor) = link.split_once('#').unwrap_or((link, ""));
            let target = match file {
                "" => page.path.clone(),
                file => from.join(file),
            };
            assert!(target.exists(), "{}: {link}", page.path.display());
            if !anchor.is_empty() {
                let heading = anchor.replace('-', " ");
                let text = read(&target).to_lowercase();
                assert!(
                    text.contains(&format!("# {heading}")),
                    "{link}: no such heading"
                );
            }
        }
        for file in named {
            assert!(
                root().join(file).exists(),
                "{}: {file}",
                page.path.display()
            );
        }
    }
}

/// The rooms by floor of a table whose rows begin with a floor's number.
fn floors<'a>(rows: impl Iterator<Item = &'a str>) -> BTreeMap<&'a str, BTreeSet<&'a str>> {
    let mut floors = BTreeMap::new();
    for row in rows {
        let mut cells = row.split('|').skip(1).map(str::trim);
        let (Some(floor), Some(rooms)) = (cells.next(), cells.next()) else {
            continue;
        };
        if floor.len() == 1 && floor.starts_with(|c: char| c.is_ascii_digit()) {
            let rooms = rooms.split('`').skip(1).step_by(2).collect();
            floors.insert(floor, rooms);
        }
    }
    floors
}

#[test]
fn the_architecture_is_the_one_of_the_crates() {
    let page = read(&root().join("ARCHITECTURE.md"));
    for name in ["lbcore", "lbd"] {
        let library = read(&root().join(name).join("src/lib.rs"));
        let in_code = floors(library.lines().filter_map(|line| line.strip_prefix("//! ")));
        let head = format!("| `{name}/src` |");
        let (_, table) = page
            .split_once(&head)
            .unwrap_or_else(|| panic!("{name}: no table"));
        let table = table.split("\n\n").next().unwrap_or_default();
        let in_page = floors(table.lines().skip(1));
        assert!(in_code.len() >= 4, "{in_code:?}");
        assert_eq!(in_page, in_code, "{name}");
    }
}
