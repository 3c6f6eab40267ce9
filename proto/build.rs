//! Compiles the .proto files with protox: no protoc is needed.
fn main() -> Result<(), Box<dyn std::error::Error>> {
    let files = ["agreement", "keys", "encoding", "run", "registry", "dispositions", "cohort", "rights", "audit"]
        .map(|name| format!("linkage/v1/{name}.proto"))
        .into_iter()
        .chain(["opentelemetry/collector_trace.proto".to_owned()])
        .collect::<Vec<_>>();
    for file in &files {
        println!("cargo:rerun-if-changed={file}");
    }
    let descriptors = protox::compile(&files, ["."])?;
    tonic_prost_build::configure().bytes(".").compile_fds(descriptors)?;
    Ok(())
}
