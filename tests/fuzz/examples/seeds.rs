//! Makes the seeds of `plan` anew from those of `config`: `cargo run -p rt-fuzz --example seeds`,
//! after a change of the format.

use std::path::Path;

fn main() -> std::io::Result<()> {
    let corpus = Path::new(env!("CARGO_MANIFEST_DIR")).join("corpus");
    for entry in std::fs::read_dir(corpus.join("config"))? {
        let config = entry?.path();
        if let (Some(plan), Some(name)) = (rt_fuzz::config::encoded(&std::fs::read(&config)?), config.file_stem()) {
            std::fs::write(corpus.join("plan").join(name), plan)?;
        }
    }
    Ok(())
}
