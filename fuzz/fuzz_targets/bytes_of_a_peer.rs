#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| sockets_simulation::bytes_of_a_peer(bytes));
