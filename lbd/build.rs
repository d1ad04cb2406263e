//! Builds the XDP program (feature `xdp`) with clang, for lbd to load at run time.

use std::path::Path;
use std::process::Command;

const SOURCE: &str = "bpf/director.bpf.c";

fn main() {
    println!("cargo:rerun-if-changed=bpf");
    println!("cargo:rerun-if-env-changed=CLANG");
    if std::env::var_os("CARGO_FEATURE_XDP").is_none() {
        return;
    }
    let clang = std::env::var("CLANG").unwrap_or_else(|_| "clang".to_owned());
    let Some(out) = std::env::var_os("OUT_DIR") else {
        panic!("cargo names no OUT_DIR");
    };
    let object = Path::new(&out).join("director.bpf.o");
    let here = std::env::current_dir().unwrap_or_default();
    let built = Command::new(&clang)
        .args([
            "-O2", "-g", "-target", "bpf", "-mcpu=v3", "-Wall", "-Wextra", "-Werror",
        ])
        // The same object wherever it is built.
        .arg(format!("-ffile-prefix-map={}=.", here.display()))
        .arg("-fdebug-compilation-dir=.")
        .args(["-c", SOURCE, "-o"])
        .arg(&object)
        .status();
    match built {
        Ok(status) if status.success() => {}
        Ok(status) => panic!("{clang} could not build {SOURCE}: {status}"),
        Err(error) => panic!(
            "{clang}: {error}. The XDP engine is built by clang: install it (Debian: apt-get install \
             clang), name another one in CLANG, or build without the engine: \
             cargo build --no-default-features --features grpc"
        ),
    }
}
