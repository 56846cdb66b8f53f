#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| sockets_simulation::decode_frame(bytes));
