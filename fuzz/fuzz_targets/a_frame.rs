#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| sockets::__fuzzing::a_frame(bytes));
