#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| sockets_simulation::peer_bytes(bytes));
