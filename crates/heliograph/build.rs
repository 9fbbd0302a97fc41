//! Has the linker put together what a start executes: docs/performance.md.

use std::{env, path::Path};

/// Which functions those are. `scripts/layout.sh` writes it.
const LAYOUT: &str = "layout.ld";

fn main() {
    println!("cargo::rerun-if-changed=build.rs");
    println!("cargo::rerun-if-changed={LAYOUT}");
    println!("cargo::rerun-if-env-changed=CARGO_ENCODED_RUSTFLAGS");

    let variable = |name| env::var(name).unwrap_or_default();
    // Both linkers that rustc takes by itself here, LLVM's and GNU's, understand such a script. mold and gold do not, so one
    // that was chosen gets none.
    let usual_linker =
        env::var_os("RUSTC_LINKER").is_none() && !variable("CARGO_ENCODED_RUSTFLAGS").contains("fuse-ld");
    if variable("PROFILE") == "release" && variable("CARGO_CFG_TARGET_OS") == "linux" && usual_linker {
        let layout = Path::new(&variable("CARGO_MANIFEST_DIR")).join(LAYOUT);
        println!("cargo::rustc-link-arg-bin=heliograph=-T{}", layout.display());
    }
}
