#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| {
    let _verdict = lazarus_fuzz::bodies::condition(data);
});
