#![no_main]

const EXTENSIONS: [&str; 8] =
    ["fvecs", "bvecs", "ivecs", "fbin", "f16bin", "u8bin", "i8bin", "ibin"];

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| twinlearn_fuzz::vectors(&EXTENSIONS, bytes));
