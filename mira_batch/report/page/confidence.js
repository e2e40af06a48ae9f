/* What a sample says about all: the bound of Clopper and Pearson, one-sided. */

/** ln n! */
const logFactorial = (() => {
  const table = [0];
  return (n) => {
    for (let k = table.length; k <= n; k++) table.push(table[k - 1] + Math.log(k));
    return table[n];
  };
})();

/** The chance of at most `bad` among `seen`, where each is bad with probability `share`. */
function chanceOfAtMost(bad, seen, share) {
  let sum = 0;
  for (let k = 0; k <= bad; k++) {
    const ways = logFactorial(seen) - logFactorial(k) - logFactorial(seen - k);
    sum += Math.exp(ways + k * Math.log(share) + (seen - k) * Math.log1p(-share));
  }
  return sum;
}

/** The largest share of bad ones that a sample with `bad` of `seen` doesn't rule out with this confidence. */
function findBound(seen, bad, confidence = 0.95) {
  if (seen === 0 || bad >= seen) return 1;
  let [low, high] = [bad / seen, 1];
  for (let k = 0; k < 60; k++) {
    const middle = (low + high) / 2;
    if (chanceOfAtMost(bad, seen, middle) > 1 - confidence) low = middle;
    else high = middle;
  }
  return high;
}

/** A share in percent, with two digits, and never less than it is. */
function roundUp(share) {
  const percent = 100 * share;
  if (percent >= 10) return `${Math.ceil(percent - 1e-9)} %`;
  const unit = 10 ** (Math.floor(Math.log10(percent)) - 1);
  return `${Number((Math.ceil(percent / unit - 1e-9) * unit).toPrecision(2))} %`;
}

/** In words what the decisions made say of all results, and the bound itself.
    `population` is how many there are; where all of them are decided there is nothing to be estimated. */
function describeConfidence(approved, rejected, population) {
  const seen = approved + rejected;
  if (seen === 0) return { text: "Nothing is decided yet.", bound: null };
  const found = rejected === 0
    ? `${number(approved)} approved without a reject`
    : `${number(approved)} approved, ${number(rejected)} rejected`;
  if (seen === population) return { text: `${found}: these are all results of the run.`, bound: rejected / seen };
  const bound = findBound(seen, rejected);
  return { text: `${found}: at most ${roundUp(bound)} are bad, with 95 % confidence`, bound };
}
