//! Gives the programs a version that changes with their sources: `0.1.0+1f2e3d4c`.
//!
//! A stack's baseline names the version that made it. With the number of the package alone, two builds from a repository could not
//! be distinguished.

use std::error::Error;
use std::fs;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::path::Path;

/// What decides how the functions behave.
const SOURCES: [&str; 4] = ["src", "../specs/src", "../figures/src", "../Cargo.lock"];

fn main() -> Result<(), Box<dyn Error>> {
    let mut hasher = DefaultHasher::new();
    for source in SOURCES {
        add(Path::new(source), &mut hasher)?;
        println!("cargo::rerun-if-changed={source}");
    }
    let package = std::env::var("CARGO_PKG_VERSION")?;
    let sources = hasher.finish() >> 32;
    println!("cargo::rustc-env=STACKDROP_VERSION={package}+{sources:08x}");
    Ok(())
}

/// Adds the text of a file, or of the files in a folder, in the order of their names.
fn add(path: &Path, hasher: &mut DefaultHasher) -> Result<(), Box<dyn Error>> {
    if path.is_dir() {
        let mut entries =
            fs::read_dir(path)?.map(|entry| Ok(entry?.path())).collect::<Result<Vec<_>, std::io::Error>>()?;
        entries.sort();
        return entries.iter().try_for_each(|entry| add(entry, hasher));
    }
    path.file_name().hash(hasher);
    fs::read(path)?.hash(hasher);
    Ok(())
}
