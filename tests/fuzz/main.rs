//! One target under libFuzzer: that in the variable FUZZ_TARGET. `run.sh` builds and calls this.

#![no_main]

use std::path::{Path, PathBuf};
use std::{env, fs, process};

use libfuzzer_sys::fuzz_target;

mod targets;

use targets::{TARGETS, Target};

static TARGET: once_cell::sync::OnceCell<&Target> = once_cell::sync::OnceCell::new();

fuzz_target!(
    init: {
        if env::var_os("FUZZ_LIST").is_some() {
            TARGETS.iter().for_each(|target| println!("{}", target.name));
            process::exit(0);
        }
        let name = env::var("FUZZ_TARGET").expect("FUZZ_TARGET names a target");
        let target = TARGETS.iter().find(|target| target.name == name).expect("FUZZ_TARGET is a target");
        if let Some(dir) = env::var_os("FUZZ_SEEDS") {
            write_seeds(target, Path::new(&dir)).expect("FUZZ_SEEDS can be written to");
            process::exit(0);
        }
        TARGET.get_or_init(|| target);
    },
    |input: &[u8]| {
        if let Some(target) = TARGET.get() {
            (target.run)(input);
        }
    }
);

/// The seeds of the target as files, and `words`, its dictionary, beside their folder.
fn write_seeds(target: &Target, dir: &Path) -> std::io::Result<()> {
    let root = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../..");
    fs::create_dir_all(dir)?;
    for (n, seed) in target.seeds(&root).into_iter().enumerate() {
        fs::write(dir.join(format!("seed-{n:03}")), seed)?;
    }
    let escaped = |word: &str| word.bytes().map(|byte| format!("\\x{byte:02x}")).collect::<String>();
    let words: Vec<String> = target
        .words
        .iter()
        .map(|word| format!("\"{}\"\n", escaped(word)))
        .collect();
    fs::write(dir.with_extension("words"), words.concat())
}
