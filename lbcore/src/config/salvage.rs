//! What can be read of a bad file.

use std::path::PathBuf;
use toml::de::DeTable;

/// A path in `[lbd]` of a file that may be bad in any way, if it is there and absolute: where the last
/// good configuration is (`state_dir`), or the socket of an lbd that may run (`run_dir`).
pub fn lbd_path_of_bad(bytes: &[u8], key: &str) -> Option<PathBuf> {
    let text = String::from_utf8_lossy(bytes);
    let (table, _faults) = DeTable::parse_recoverable(&text);
    let lbd = table.get_ref().get("lbd")?.get_ref().as_table()?;
    let said = PathBuf::from(lbd.get(key)?.get_ref().as_str()?);
    said.is_absolute().then_some(said)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn t24_state_dir_is_found_in_a_bad_file_and_only_where_it_stands() {
        let found = |text: &str| lbd_path_of_bad(text.as_bytes(), "state_dir");
        let there = Some(PathBuf::from("/srv/lbd"));
        for text in [
            "[lbd]\nstate_dir = \"/srv/lbd\" # here\nnonsense = 1\n",
            "[lbd]\nstate_dir = '/srv/lbd'\nrun_dir =\n[network\n",
            "lbd = { state_dir = \"/srv/lbd\" }\n[[service]]\nname = \"web\nport = 80\n",
            "lbd.state_dir = \"/srv/lbd\"\n= = =\n",
        ] {
            assert_eq!(found(text), there, "{text}");
        }
        for text in [
            "",
            "# state_dir = \"/srv/lbd\"\n",
            "[network]\nstate_dir = \"/srv/lbd\"\n",
            "[lbd]\nstate_dir = \"srv\"\n",
            "[lbd]\nstate_dir = 7\n",
            "lbd = 1\n",
        ] {
            assert_eq!(found(text), None, "{text}");
        }
        assert_eq!(lbd_path_of_bad(b"\xff\xfe\x00[lbd", "state_dir"), None);
    }
}
