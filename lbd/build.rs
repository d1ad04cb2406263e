//! Builds the XDP programs (feature `xdp`) with clang, for lbd to load at run time.

use std::path::Path;
use std::process::Command;

const PROGRAMS: [&str; 2] = ["director", "to_sockets"];

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
    for program in PROGRAMS {
        build(&clang, program, Path::new(&out));
    }
}

fn build(clang: &str, program: &str, out: &Path) {
    let source = format!("bpf/{program}.bpf.c");
    let here = std::env::current_dir().unwrap_or_default();
    let built = Command::new(clang)
        .args([
            "-O2", "-g", "-target", "bpf", "-mcpu=v3", "-Wall", "-Wextra", "-Werror",
        ])
        // The same object wherever it is built.
        .arg(format!("-ffile-prefix-map={}=.", here.display()))
        .arg("-fdebug-compilation-dir=.")
        .args(["-c", &source, "-o"])
        .arg(out.join(format!("{program}.bpf.o")))
        .status();
    match built {
        Ok(status) if status.success() => {}
        Ok(status) => panic!("{clang} could not build {source}: {status}"),
        Err(error) => panic!(
            "{clang}: {error}. The XDP engines are built by clang: install it (Debian: apt-get install \
             clang), name another one in CLANG, or build without them: \
             cargo build --no-default-features --features grpc"
        ),
    }
}
