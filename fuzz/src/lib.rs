//! What each target does with its bytes; `crates/twinlearn/tests/corpus.rs` does the same with the
//! committed corpus.

include!("../../crates/twinlearn/tests/fuzzing/mod.rs");

/// Leaves panics to who catches them.
pub fn quiet_panics() {
    std::panic::set_hook(Box::new(|_| {}));
}
