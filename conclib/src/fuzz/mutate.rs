//! Mutations of valid bytes.

/// Longest mutation, in bytes.
const MAX_BYTES: usize = 64 * 1024;

/// Significant bytes: the markers of MessagePack with lengths behind them, and the ends of ranges.
const MARKERS: [u8; 24] = [
    0x00, 0x01, 0x7f, 0x80, 0x8f, 0x90, 0x9f, 0xa0, 0xbf, 0xc0, 0xc1, 0xc4, 0xc6, 0xc9, 0xcb, 0xcf,
    0xd9, 0xdb, 0xdc, 0xdd, 0xde, 0xdf, 0xe0, 0xff,
];

/// Decisions taken from the engine's input; zeros when that is used up.
struct Choices<'a>(&'a [u8]);

impl Choices<'_> {
    fn byte(&mut self) -> u8 {
        let Some((&first, rest)) = self.0.split_first() else {
            return 0;
        };
        self.0 = rest;
        first
    }

    fn below(&mut self, bound: usize) -> usize {
        let number = [(); 3].map(|()| usize::from(self.byte()));
        let number = number
            .into_iter()
            .fold(0, |number, digit| number << 8 | digit);
        number % bound.max(1)
    }

    /// A range within `length` bytes.
    fn range(&mut self, length: usize) -> std::ops::Range<usize> {
        let start = self.below(length + 1);
        start..start + self.below(length - start + 1)
    }
}

/// One of the seeds, changed up to six times.
pub(crate) fn mutate(seeds: &[Vec<u8>], input: &[u8]) -> Vec<u8> {
    let mut choices = Choices(input);
    let mut bytes = seeds[choices.below(seeds.len())].clone();
    for _ in 0..=choices.below(6) {
        change(&mut bytes, seeds, &mut choices);
        bytes.truncate(MAX_BYTES);
    }
    bytes
}

fn change(bytes: &mut Vec<u8>, seeds: &[Vec<u8>], choices: &mut Choices<'_>) {
    let place = choices.below(bytes.len());
    match choices.byte() % 9 {
        0 => {
            if let Some(byte) = bytes.get_mut(place) {
                *byte ^= 1 << (choices.byte() % 8);
            }
        }
        1 => {
            if let Some(byte) = bytes.get_mut(place) {
                *byte = choices.byte();
            }
        }
        2 => {
            if let Some(byte) = bytes.get_mut(place) {
                *byte = MARKERS[choices.below(MARKERS.len())];
            }
        }
        3 => bytes.truncate(place),
        4 => drop(bytes.drain(choices.range(bytes.len()))),
        // Appends the end of another seed.
        5 => {
            let other = &seeds[choices.below(seeds.len())];
            let from = choices.below(other.len());
            bytes.truncate(place);
            bytes.extend_from_slice(&other[from..]);
        }
        // Inserts a few bytes.
        6 => {
            let length = choices.below(9);
            let new: Vec<_> = (0..length).map(|_| choices.byte()).collect();
            drop(bytes.splice(place..place, new));
        }
        // Repeats a piece.
        7 => {
            let range = choices.range(bytes.len());
            let piece = bytes[range].to_vec();
            let times = choices.below(1 + MAX_BYTES / piece.len().max(1)).min(2000);
            drop(bytes.splice(place..place, piece.repeat(times)));
        }
        // Writes a wrong length.
        _ => {
            let lengths = [
                [0xff; 4],
                [0x7f, 0xff, 0xff, 0xff],
                [0, 0, 0xff, 0xff],
                [0; 4],
            ];
            let length = lengths[choices.below(lengths.len())];
            let end = (place + 1 + choices.below(4)).min(bytes.len());
            if let Some(field) = bytes.get_mut(place..end) {
                field.copy_from_slice(&length[..field.len()]);
            }
        }
    }
}
