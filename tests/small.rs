//! Promise: 64 MiB of memory, and of address space, hold 500 listeners and 16 MiB hold 50, on one core, while they come
//! and go: everyone hears every message and nobody is refused. The script says how it is measured; the manual has what
//! it says in a minute.

use std::process::Command;

#[test]
fn a_crowd_that_comes_and_goes_fits_a_small_machine() {
    let mut script = Command::new("python3");
    script.args(["scripts/constrained.py", "--seconds", "3", env!("CARGO_BIN_EXE_aloud")]);
    if !cfg!(debug_assertions) {
        script.arg("--address-space"); // the stacks of a debug build are larger
    }
    let output = script.output().expect("python3 is installed");
    let said = format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert!(output.status.success(), "{said}");
    assert_eq!(said.lines().count(), 4, "both sizes: {said}");
}
