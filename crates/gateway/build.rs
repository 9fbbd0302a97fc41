//! Compiles Signal's gRPC interface, without an external compiler.

use std::error::Error;

const SERVICES: &[&str] = &["account", "keys", "messages"];

fn main() -> Result<(), Box<dyn Error>> {
    let files: Vec<_> = SERVICES.iter().map(|name| format!("proto/org/signal/chat/{name}.proto")).collect();
    println!("cargo::rerun-if-changed=proto");
    let descriptors = protox::compile(&files, ["proto"])?;
    tonic_prost_build::configure().build_client(false).bytes(".").compile_fds(descriptors)?;
    Ok(())
}
