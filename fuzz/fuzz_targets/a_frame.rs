#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| sockets_proto::fuzzing::a_frame(bytes));
