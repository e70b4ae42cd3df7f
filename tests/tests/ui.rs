//! What the compiler says: nothing about good code, and what to write about each mistake.
//!
//! The `.stderr` files hold the words of one release of rustc, and with another one only good code
//! is tried. After an update, and after a change of the macros,
//! `TRYBUILD=overwrite cargo test --test ui` writes them anew; read the difference as a user would.

use std::process::Command;

/// The release whose words the `.stderr` files hold.
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
