#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| twinlearn_fuzz::model(bytes));
