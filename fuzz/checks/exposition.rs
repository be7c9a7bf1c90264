//! Whatever a server's page of metrics holds: what is counted can be counted, and nothing that is
//! no sample of the family changes it.

use llmsoak::client::exposition::{count, sum};

const FAMILY: &str = "a";
/// Lines that are no samples of it.
const OTHERS: &[u8] = b"# a 1\nab 2\n{a} 3\n";
/// Beyond 2⁵³ not all whole numbers are floats.
const LARGEST: u64 = 1 << 53;

pub(crate) fn hold(page: &[u8]) {
    assert!(count(page, FAMILY).is_none_or(|count| count <= LARGEST));
    let lines = page.split(|&byte| byte == b'\n');
    let crowded: Vec<u8> = lines.flat_map(|line| [OTHERS, line, b"\n"].concat()).collect();
    assert_eq!(sum(&crowded, FAMILY), sum(page, FAMILY));
}
