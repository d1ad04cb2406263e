#![allow(clippy::unwrap_used)]

mod broken;
mod diff;
mod good;
mod host;
mod included;
mod rendered;

/// The start of a file that is good with any service after it.
const HEAD: &str = "[network]\ninterface = \"eth0\"\n";

/// A service with a check and two reals.
const WEB: &str = r#"[[service]]
name = "web"
vip = "192.0.2.10"
port = 80
[[service.check]]
type = "tcp"
[[service.real]]
name = "rs1"
address = "192.0.2.21"
[[service.real]]
name = "rs2"
address = "192.0.2.22"
"#;

fn web() -> String {
    format!("{HEAD}{WEB}")
}
