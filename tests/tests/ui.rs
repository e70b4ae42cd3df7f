//! Compiler messages: none for good code, and an explanation for each mistake.
//!
//! The `.stderr` files hold the output of one release of rustc; with another release, only good code
//! is compiled. After an update, and after a change of the macros,
//! `TRYBUILD=overwrite cargo test --test ui` writes them again; read the difference as a user would.

use std::process::Command;

/// The release of the `.stderr` files.
const RELEASE: &str = "rustc 1.95.";

#[test]
fn mistakes_are_explained_and_good_code_is_quiet() {
    let cases = trybuild::TestCases::new();
    cases.pass("ui/pass/*.rs");
    let rustc = Command::new("rustc")
        .arg("--version")
        .output()
        .expect("rustc runs");
    if rustc.stdout.starts_with(RELEASE.as_bytes()) {
        cases.compile_fail("ui/fail/*.rs");
    } else {
        eprintln!("not {RELEASE}x: the texts of errors are not compared");
    }
}
