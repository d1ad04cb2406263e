//! Configurations of several files.

use super::{HEAD, WEB, web};
use crate::config::{
    Gather, MAX_BYTES, MAX_INCLUDED, Pattern, SourceFile, Sources, check, gather,
    offline_check_all, parse, patterns,
};
use std::collections::BTreeMap;
use std::io;
use std::path::{Path, PathBuf};

fn sources(main: &str, included: &[(&str, &str)]) -> Sources {
    let mut sources = Sources::one("lbd.toml", main);
    let file = |(path, text): &(&str, &str)| SourceFile {
        path: path.into(),
        text: (*text).to_owned(),
    };
    sources.included = included.iter().map(file).collect();
    sources
}

#[test]
fn services_of_all_files_make_one_configuration() {
    let main = format!("include = [\"conf.d/*.toml\"]\n{}", web());
    let dns = "[[service]]\nname = \"dns\"\nvip = \"192.0.2.11\"\nport = 53\n";
    let sources = sources(
        &main,
        &[
            ("conf.d/dns.toml", dns),
            ("conf.d/none.toml", "# nothing\n"),
        ],
    );
    let config = sources.check().unwrap().config;
    let names: Vec<_> = config.services.iter().map(|s| s.name.as_str()).collect();
    assert_eq!(names, ["web", "dns"]);

    let flat = sources.flattened().unwrap();
    assert!(!flat.contains("include"), "{flat}");
    assert_eq!(parse(&flat).unwrap(), config);
    assert_eq!(Sources::one("x", web()).flattened().unwrap(), web());
}

#[test]
fn every_fault_has_its_file() {
    let main = format!("{HEAD}{WEB}schedular = 1\n");
    let one = format!("# one\n{}", WEB.replace("\"rs1\"", "\"r s\""));
    let two = "[lbd]\nlog = \"info\"\n[[service]]\nname = \"x\"\nvip = \"192.0.2.21\"\nport = 1\n";
    let sources = sources(&main, &[("a.toml", &one), ("b.toml", two)]);
    let faults = sources.check().unwrap_err();
    let lines: Vec<String> = faults.iter().map(|fault| sources.line(fault)).collect();
    let told = lines.join("\n");
    for words in [
        "service[web].real[rs2].schedular: unknown key `schedular` in [[service.real]]",
        "a.toml:3:8: service[web].name: another service is called `web`, on line 4 of lbd.toml",
        "a.toml:9:8: service[web].real[r s].name: ",
        "b.toml:1:2: lbd: `lbd` stands in the main file only",
    ] {
        assert!(told.contains(words), "{words} is not in\n{told}");
    }
    assert!(faults.is_sorted_by_key(|fault| (fault.file, fault.line)));
    let shown = sources.render(&faults, false);
    assert!(
        shown.contains("--> a.toml:3:8") && shown.contains("--> b.toml:1:2"),
        "{shown}"
    );
}

#[test]
fn a_file_that_is_no_text_or_no_toml_is_named() {
    let main = web();
    let included = [
        (
            PathBuf::from("a.toml"),
            b"[[service]]\nname = \"a\n".to_vec(),
        ),
        (PathBuf::from("b.toml"), b"[[service]\n".to_vec()),
    ];
    let report = offline_check_all(("lbd.toml".into(), main.as_bytes()), &included, false);
    let files: Vec<usize> = report.outcome.unwrap_err().iter().map(|f| f.file).collect();
    assert!(
        files.contains(&1) && files.contains(&2) && !files.contains(&0),
        "{files:?}"
    );
    assert!(report.text.ends_with("faults\n"), "{}", report.text);

    let included = [(PathBuf::from("a.toml"), b"# \xff\n".to_vec())];
    let report = offline_check_all(("lbd.toml".into(), main.as_bytes()), &included, false);
    let faults = report.outcome.unwrap_err();
    assert_eq!((faults.len(), faults[0].file, faults[0].column), (1, 1, 3));
}

#[test]
fn patterns_are_bounded_in_what_they_reach() {
    let pattern = |text: &str| Pattern::new(text);
    let matches = |text: &str, name: &str| pattern(text).unwrap().matches(name);
    for (text, name, meant) in [
        ("conf.d/*.toml", "a.toml", true),
        ("conf.d/*.toml", ".toml", false),
        ("conf.d/*.toml", ".a.toml", false),
        ("conf.d/*.toml", "a.toml.new", false),
        ("conf.d/.*.toml", ".a.toml", true),
        ("*", "anything", true),
        ("a*b*c", "aXbXbXc", true),
        ("a*b*c", "aXbXbX", false),
        ("?.toml", "a.toml", true),
        ("?.toml", "ab.toml", false),
        ("web.toml", "web.toml", true),
    ] {
        assert_eq!(matches(text, name), meant, "{text} {name}");
    }
    for wrong in ["", "conf.d/", "a/../..", "conf.*/a.toml", "a\0b"] {
        assert!(pattern(wrong).is_err(), "{wrong:?}");
    }
    let long = "*a".repeat(100);
    assert!(!matches(&long, &"a".repeat(99)), "in no time");
    assert_eq!(
        pattern("/etc/lbd.d/*")
            .unwrap()
            .directory(Path::new("/x/lbd.toml")),
        Path::new("/etc/lbd.d")
    );
    assert_eq!(patterns("include = [\"a*\", 3, \"b\"]\n[x").len(), 2);
    let fault = &check("include = [\"conf.d/\"]\n").unwrap_err()[0];
    assert_eq!((fault.line, fault.column), (1, 12));
    assert_eq!(
        fault.what(),
        "include: `conf.d/` names no files (such as \"conf.d/*.toml\")"
    );
}

/// Directories with files, and how often one was read.
#[derive(Default)]
struct Tree(BTreeMap<PathBuf, Vec<u8>>);

impl Gather for Tree {
    fn names(&self, directory: &Path) -> io::Result<Vec<String>> {
        let here = self
            .0
            .keys()
            .filter(|path| path.parent() == Some(directory));
        let names: Vec<String> = here
            .filter_map(|path| Some(path.file_name()?.to_str()?.to_owned()))
            .rev()
            .collect();
        match names.is_empty() {
            true => Err(io::ErrorKind::NotFound.into()),
            false => Ok(names),
        }
    }

    fn bytes(&self, file: &Path, at_most: usize) -> io::Result<Vec<u8>> {
        let bytes = self.0.get(file).ok_or(io::ErrorKind::NotFound)?;
        Ok(bytes[..bytes.len().min(at_most)].to_vec())
    }
}

#[test]
fn files_come_in_order_once_and_within_bounds() {
    let main = Path::new("/etc/lbd.toml");
    let mut tree = Tree::default();
    for name in ["b.toml", "a.toml", "c.txt"] {
        tree.0
            .insert(Path::new("/etc/d").join(name), name.as_bytes().to_vec());
    }
    tree.0.insert(main.to_owned(), Vec::new());
    let names = |include: &str, tree: &Tree| -> Result<Vec<PathBuf>, String> {
        let found = gather(main, format!("include = {include}").as_bytes(), tree);
        let found = found.map_err(|error| error.to_string())?;
        Ok(found.into_iter().map(|(path, _)| path).collect())
    };
    let (a, b) = (
        PathBuf::from("/etc/d/a.toml"),
        PathBuf::from("/etc/d/b.toml"),
    );
    assert_eq!(
        names("[\"d/b.toml\", \"d/*.toml\", \"none/*\", \"*\"]", &tree),
        Ok(vec![b, a])
    );
    let missing = names("\"d/z.toml\"", &tree).unwrap_err();
    assert!(missing.starts_with("/etc/d/z.toml: "), "{missing}");

    for n in 0..=MAX_INCLUDED {
        tree.0.insert(format!("/etc/e/{n}.toml").into(), Vec::new());
    }
    let many = names("\"e/*\"", &tree).unwrap_err();
    assert!(many.contains("at most 256"), "{many}");

    let half = vec![b'#'; MAX_BYTES / 2];
    for name in ["1", "2", "3"] {
        tree.0.insert(format!("/etc/f/{name}").into(), half.clone());
    }
    let included = gather(main, b"include = \"f/*\"", &tree).unwrap();
    let total: usize = included.iter().map(|(_, bytes)| bytes.len()).sum();
    assert!(total <= MAX_BYTES + 1, "{total}");
    let report = offline_check_all((main.to_owned(), b"include = \"f/*\"\n"), &included, false);
    let fault = &report.outcome.unwrap_err()[0];
    assert!(fault.message.contains("too large"), "{fault}");
}
