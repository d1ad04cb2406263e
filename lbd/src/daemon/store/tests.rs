#![allow(clippy::unwrap_used)]

use super::*;
use std::io::{BufRead, BufReader};
use std::os::unix::fs::symlink;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

const OLD: &str = "# ours\n[network]\ninterface = \"eth0\"\n";
const NEW: &str = "# ours\n[network]\ninterface = \"eth1\"\n";

fn dir_with(text: &str) -> (tempfile::TempDir, PathBuf) {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("lbd.toml");
    fs::write(&path, text).unwrap();
    (dir, path)
}

fn one(path: &Path, text: &str) -> Sources {
    Sources::one(path, text)
}

/// Names in a directory, sorted.
fn names(dir: &Path) -> Vec<String> {
    let entries = fs::read_dir(dir).unwrap();
    let mut names: Vec<_> = entries
        .map(|entry| entry.unwrap().file_name().to_string_lossy().into_owned())
        .collect();
    names.sort();
    names
}

#[test]
fn a_file_is_replaced_with_mode_and_owner_and_nothing_else_is_left() {
    let (dir, path) = dir_with(OLD);
    fs::set_permissions(&path, Permissions::from_mode(0o664)).unwrap();
    if crate::sys::peer::own_uid() == 0 {
        std::os::unix::fs::chown(&path, Some(12), Some(34)).unwrap();
    }
    let before = fs::metadata(&path).unwrap();
    let (mut old, new) = (one(&path, OLD), one(&path, NEW));
    check(&old, &new).unwrap();
    assert_eq!(names(dir.path()), ["lbd.toml"], "a check leaves nothing");
    assert_eq!(fs::read_to_string(&path).unwrap(), OLD);
    assert_eq!(write(&mut old, &new).unwrap(), Vec::<Note>::new());
    let after = fs::metadata(&path).unwrap();
    assert_eq!(fs::read_to_string(&path).unwrap(), NEW);
    let (is, was) = (after.mode(), before.mode());
    assert_eq!(
        (is, after.uid(), after.gid()),
        (was, before.uid(), before.gid())
    );
    assert_eq!(old, new);
    assert_eq!(names(dir.path()), ["lbd.toml"]);
}

#[test]
fn a_symlink_stays_and_what_it_points_to_is_replaced() {
    let (dir, path) = dir_with(OLD);
    let elsewhere = tempfile::tempdir().unwrap();
    let link = elsewhere.path().join("link.toml");
    symlink(&path, &link).unwrap();
    write(&mut one(&link, OLD), &one(&link, NEW)).unwrap();
    assert_eq!(fs::read_link(&link).unwrap(), path);
    assert_eq!(fs::read_to_string(&path).unwrap(), NEW);
    assert_eq!(names(dir.path()), ["lbd.toml"]);
    assert_eq!(names(elsewhere.path()), ["link.toml"]);
}

#[test]
fn what_somebody_else_wrote_is_never_written_over() {
    let (dir, path) = dir_with(OLD);
    let (mut old, new) = (one(&path, OLD), one(&path, NEW));
    for by_hand in ["", "# half a li", "[network]\ninterface = \"eth7\"\n"] {
        fs::write(&path, by_hand).unwrap();
        for refused in [check(&old, &new), write(&mut old, &new).map(drop)] {
            assert!(
                matches!(refused, Err(NotWritten::HandEdited(_))),
                "{refused:?}"
            );
        }
        assert_eq!(fs::read_to_string(&path).unwrap(), by_hand);
        assert!(unchanged(&old, &new).is_err());
    }
    fs::remove_file(&path).unwrap();
    assert!(matches!(check(&old, &new), Err(NotWritten::HandEdited(_))));
    fs::create_dir(&path).unwrap();
    assert!(check(&old, &new).is_err());
    assert_eq!(names(dir.path()), ["lbd.toml"]);
}

#[test]
fn what_a_killed_lbd_or_a_stranger_left_in_the_way_is_not_followed() {
    let (dir, path) = dir_with(OLD);
    let (victim, bait) = (
        dir.path().join("victim"),
        dir.path().join(".lbd.toml.lbd-new"),
    );
    fs::write(&victim, "mine").unwrap();
    symlink(&victim, &bait).unwrap();
    write(&mut one(&path, OLD), &one(&path, NEW)).unwrap();
    fs::write(&bait, "half of a configurat").unwrap();
    write(&mut one(&path, NEW), &one(&path, OLD)).unwrap();
    assert_eq!(fs::read_to_string(&victim).unwrap(), "mine");
    assert_eq!(fs::read_to_string(&path).unwrap(), OLD);
    assert_eq!(names(dir.path()), ["lbd.toml", "victim"]);
    // What cannot be put away is said, and the file stays.
    fs::create_dir(&bait).unwrap();
    assert!(write(&mut one(&path, OLD), &one(&path, NEW)).is_err());
    assert_eq!(fs::read_to_string(&path).unwrap(), OLD);
}

#[test]
fn a_file_nobody_may_write_is_read_only_for_root_too() {
    let (_dir, path) = dir_with(OLD);
    fs::set_permissions(&path, Permissions::from_mode(0o444)).unwrap();
    let refused = check(&one(&path, OLD), &one(&path, NEW)).unwrap_err();
    assert!(
        matches!(refused, NotWritten::ReadOnly { .. }),
        "{refused:?}"
    );
    assert!(refused.to_string().contains("permission"), "{refused}");
}

#[test]
fn of_several_files_only_those_that_differ_are_written_and_it_is_known_which_were() {
    let (dir, main) = dir_with(OLD);
    let included: Vec<SourceFile> = ["a", "b"]
        .map(|name| SourceFile {
            path: dir.path().join(name),
            text: String::new(),
        })
        .into();
    for file in &included {
        fs::write(&file.path, "").unwrap();
    }
    let mut old = one(&main, OLD);
    old.included = included;
    let mut new = old.clone();
    new.main.text = NEW.to_owned();
    new.included[1].text = "# b\n".to_owned();
    let inode = |path: &Path| fs::metadata(path).unwrap().ino();
    let a = inode(&old.included[0].path);
    fs::write(&old.included[1].path, "# by hand\n").unwrap();
    assert!(
        check(&old, &new).is_err(),
        "one that was edited stops them all"
    );
    assert_eq!(fs::read_to_string(&main).unwrap(), OLD);
    let refused = write(&mut old, &new).unwrap_err();
    assert!(refused.to_string().contains("/b was changed"), "{refused}");
    assert_eq!(
        (old.main.text.as_str(), old.included[1].text.as_str()),
        (NEW, "")
    );
    fs::write(&old.included[1].path, "").unwrap();
    write(&mut old, &new).unwrap();
    assert_eq!(old, new);
    assert_eq!(inode(&old.included[0].path), a, "not written at all");
}

/// The two texts a writer that is going to be killed goes back and forth between.
fn texts() -> [String; 2] {
    [("a", 3_000), ("b", 9_000)].map(|(word, lines)| format!("# {word}\n").repeat(lines))
}

/// Not a test of its own: the process that the next one kills.
#[test]
#[ignore = "runs until it is killed"]
fn writer() {
    let Some(path) = std::env::var_os("LBD_TORN_WRITE") else {
        return;
    };
    let path = PathBuf::from(path);
    let [a, b] = texts().map(|text| one(&path, &text));
    let mut on_disk = match fs::read_to_string(&path).unwrap() == a.main.text {
        true => a.clone(),
        false => b.clone(),
    };
    eprintln!("writing");
    loop {
        let next = if on_disk == a { &b } else { &a };
        write(&mut on_disk, next).unwrap();
    }
}

/// T25: a writer killed at any moment leaves the old file or the new one.
#[test]
fn t25_a_killed_writer_leaves_the_old_file_or_the_new_one() {
    const KILLS: u32 = 500;
    let [a, b] = texts();
    let (dir, path) = dir_with(&a);
    let (mut seen, mut left_over) = ([0, 0], 0);
    let me = module_path!().split_once("::").unwrap().1;
    for kill in 0..KILLS {
        let mut child = Command::new(std::env::current_exe().unwrap())
            .args(["--exact", "--ignored", "--nocapture", "--quiet"])
            .arg(format!("{me}::writer"))
            .env("LBD_TORN_WRITE", &path)
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let mut said = String::new();
        let mut stderr = BufReader::new(child.stderr.take().unwrap());
        stderr.read_line(&mut said).unwrap();
        assert_eq!(said, "writing\n");
        // Anywhere in a few writes: spread over them, and by the scheduler's own whims.
        let until = Instant::now() + Duration::from_micros(u64::from(kill) * 7919 % 3000);
        while Instant::now() < until {
            std::hint::spin_loop();
        }
        child.kill().unwrap();
        child.wait().unwrap();
        let found = fs::read_to_string(&path).unwrap();
        let which = [&a, &b].iter().position(|whole| **whole == found);
        seen[which.unwrap_or_else(|| panic!("{} bytes of neither", found.len()))] += 1;
        let names = names(dir.path());
        left_over += usize::from(names.len() == 2);
        assert!(names.len() <= 2, "left-overs do not pile up: {names:?}");
    }
    assert!(seen.iter().all(|times| *times > 0), "{seen:?}");
    assert!(left_over > 0, "no kill came in the middle of a write");
}
