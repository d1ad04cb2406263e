//! The benchmark's own BPF programs: built by clang when it runs, loaded by aya.

use anyhow::{Context, ensure};
use aya::Ebpf;
use aya::maps::Map;
use std::path::Path;
use std::process::Command;

const SOURCES: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/benches/engines/bpf");

/// Builds and loads `NAME.bpf.c`.
///
/// # Errors
/// When clang is not there or finds a mistake, or the kernel refuses the maps.
pub fn load(name: &str) -> anyhow::Result<Ebpf> {
    let dir = tempfile::tempdir_in("/run")?;
    let object = dir.path().join("object.o");
    let source = Path::new(SOURCES).join(format!("{name}.bpf.c"));
    let clang = std::env::var("CLANG").unwrap_or_else(|_| "clang".to_owned());
    let status = Command::new(&clang)
        .args([
            "-O2", "-g", "-target", "bpf", "-mcpu=v3", "-Wall", "-Wextra", "-Werror", "-c",
        ])
        .arg(&source)
        .arg("-o")
        .arg(&object)
        .status()
        .with_context(|| format!("{clang}: it builds the benchmark's programs"))?;
    ensure!(status.success(), "{clang} {}: {status}", source.display());
    Ok(Ebpf::load_file(&object)?)
}

/// One of its maps, as what it is.
///
/// # Errors
/// When there is no such map, or it is another.
pub fn map<M>(ebpf: &mut Ebpf, name: &str) -> anyhow::Result<M>
where
    M: TryFrom<Map>,
    M::Error: std::error::Error + Send + Sync + 'static,
{
    let map = ebpf.take_map(name).with_context(|| name.to_owned())?;
    M::try_from(map).with_context(|| name.to_owned())
}
