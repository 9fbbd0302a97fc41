//! Compiles Signal's gRPC interface, without an external compiler.

use std::{env, error::Error, fmt::Write as _, fs, path::Path};

const SERVICES: &[&str] =
    &["account", "challenge", "credentials", "device", "keys", "messages", "remoteconfiguration"];

fn main() -> Result<(), Box<dyn Error>> {
    let files: Vec<_> = SERVICES.iter().map(|name| format!("proto/org/signal/chat/{name}.proto")).collect();
    println!("cargo::rerun-if-changed=proto");
    let descriptors = protox::compile(&files, ["proto"])?;

    // For the route table: each service with its methods.
    let mut methods = String::from("&[");
    for file in &descriptors.file {
        for service in &file.service {
            let names: Vec<_> =
                service.method.iter().map(|method| method.name.as_deref().unwrap_or_default()).collect();
            write!(methods, "(\"{}.{}\", &{names:?}),", file.package(), service.name())?;
        }
    }
    methods.push(']');
    fs::write(Path::new(&env::var("OUT_DIR")?).join("methods.rs"), methods)?;

    tonic_prost_build::configure().build_client(false).bytes(".").compile_fds(descriptors)?;
    Ok(())
}
