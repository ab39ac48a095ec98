#![no_main]

use libfuzzer_sys::fuzz_target;

// libfuzzer ends the process at a panic. Those of the decoders are caught by the library: its
// business is what comes out of it.
fuzz_target!(init: twinlearn_fuzz::quiet_panics(), |bytes: &[u8]| {
    twinlearn_fuzz::vectors(&["table"], bytes);
});
