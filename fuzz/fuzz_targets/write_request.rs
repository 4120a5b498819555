//! Messages of remote write as they come from pushes and from queue files: no panic, and what was taken is read again from the labels that are kept.
#![no_main]

use libfuzzer_sys::fuzz_target;
use vmagent::remote_write::{SeriesBlock, decode};

fuzz_target!(|message: &[u8]| {
    let mut block = SeriesBlock::new();
    if decode(message, &mut block).is_err() {
        return;
    }
    let mut samples = 0;
    for series in block.iter() {
        samples += series.samples().len();
        // A series alone is a message, too: its labels are kept as they leave.
        let labels = series.label_messages();
        let mut alone = SeriesBlock::new();
        let mut framed = vec![0x0A];
        let mut len = labels.len();
        while len > 0x7F {
            framed.push((len & 0x7F) as u8 | 0x80);
            len >>= 7;
        }
        framed.push(len as u8);
        framed.extend_from_slice(labels);
        decode(&framed, &mut alone).expect("labels that were read are written well");
    }
    assert_eq!(samples, block.sample_count());
});
