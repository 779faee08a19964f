//! Writes rt's manual pages and completions below a directory, at the places where man(1), bash, zsh
//! and fish look below `/usr/share` or `/usr/local/share`: `cargo run -p rt-cli --example manual DIR`.

mod completions;
mod pages;

use std::path::Path;
use std::{env, fs, io};

fn main() -> io::Result<()> {
    let Some(directory) = env::args_os().nth(1) else {
        eprintln!("usage: manual DIR");
        std::process::exit(2);
    };
    for (path, text) in pages::all().into_iter().chain(completions::all()) {
        let path = Path::new(&directory).join(path);
        if let Some(parent) = path.parent() {
            fs::create_dir_all(parent)?;
        }
        fs::write(path, text)?;
    }
    Ok(())
}
