//! What may leave, and how it is written.
#![allow(clippy::unwrap_used)]

use super::archive::Archive;
use super::scrub::Scrub;
use super::*;
use std::os::unix::fs::PermissionsExt;

fn status() -> StatusView {
    serde_json::from_str(include_str!("../../../lbcore/src/api/fixtures/status.json")).unwrap()
}

#[test]
fn clients_get_one_name_each_and_ours_keep_theirs() {
    let mut scrub = Scrub::new(false);
    scrub.know_all_of(&status());
    scrub.know_addresses_in("inet 192.0.2.2/24 brd 192.0.2.255 scope global eth0");
    let text = scrub.text(
        "198.51.100.7:4000 192.0.2.10:443 192.0.2.21 192.0.2.99 192.0.2.2 198.51.100.7 \
         127.0.0.1 0.0.0.0 224.0.0.18 [2001:db8:1::7]:1 2001:db8::10",
    );
    let words: Vec<&str> = text.split(' ').collect();
    let client = words[0].strip_suffix(":4000").unwrap();
    assert!(client.starts_with("client-"), "{text}");
    assert_eq!(words[5], client);
    assert_eq!(
        words[1..5],
        ["192.0.2.10:443", "192.0.2.21", "192.0.2.99", "192.0.2.2"]
    );
    assert_eq!(words[6..9], ["127.0.0.1", "0.0.0.0", "224.0.0.18"]);
    assert!(
        words[9].starts_with("[client-") && words[9].ends_with("]:1"),
        "{text}"
    );
    assert_eq!(words[10], "2001:db8::10");
    assert_eq!(scrub.tally().addresses, 2);
    let mut other = Scrub::new(false);
    let renamed = other.text("198.51.100.7");
    assert_ne!(renamed, client, "another bundle, another name");
    assert_eq!(Scrub::new(true).text("198.51.100.7"), "198.51.100.7");
}

#[test]
fn a_secret_of_the_file_is_taken_out_everywhere() {
    let mut scrub = Scrub::new(true);
    let file = "[[service]]\n[[service.check]]\nheaders = { A = 'say \"s3cr3t\"', B = 'abc' }\n";
    let shown = scrub.config(file);
    assert!(
        !shown.contains("s3cr3t") && !shown.contains("abc"),
        "{shown}"
    );
    let json = r#"{"message":"headers A: none -> say \"s3cr3t\"; abc"}"#;
    assert_eq!(
        scrub.text(json),
        r#"{"message":"headers A: none -> (redacted); abc"}"#
    );
    assert_eq!(scrub.text("log: say \"s3cr3t\"!"), "log: (redacted)!");
    assert_eq!(scrub.tally().secrets, 2);
}

#[test]
fn nothing_is_overwritten_and_only_the_owner_reads_it() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("b.tar.gz");
    let mut archive = Archive::create(&file, SystemTime::now()).unwrap();
    archive.add("a/b.txt", "text").unwrap();
    archive.finish().unwrap();
    assert_eq!(
        std::fs::metadata(&file).unwrap().permissions().mode() & 0o777,
        0o600
    );
    let again = Archive::create(&file, SystemTime::now()).err().unwrap();
    assert_eq!(again.exit_code(), 4);
    assert!(
        again.words().contains("nothing was written"),
        "{}",
        again.words()
    );
    let link = dir.path().join("link");
    std::os::unix::fs::symlink(dir.path().join("elsewhere"), &link).unwrap();
    assert_eq!(
        Archive::create(&link, SystemTime::now())
            .err()
            .unwrap()
            .exit_code(),
        4
    );
    let nowhere = dir.path().join("no/such/place");
    assert_eq!(
        Archive::create(&nowhere, SystemTime::now())
            .err()
            .unwrap()
            .exit_code(),
        1
    );
}

#[test]
fn the_default_name_tells_the_time() {
    let now = SystemTime::UNIX_EPOCH + std::time::Duration::from_secs(1_763_710_265);
    assert_eq!(
        default_name(now),
        PathBuf::from("lbd-bundle-20251121T073105Z.tar.gz")
    );
}
