#![no_main]
libfuzzer_sys::fuzz_target!(|bytes: &[u8]| linkage_fuzz_targets::receipt(bytes));
