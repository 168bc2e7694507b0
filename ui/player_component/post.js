// Where the two halves of a player meet: the roll, sent once, and the sound, sent whenever more of it is there. Both
// are components of their own, so that news about the sound does not send the notes again.

const POST = (globalThis[Symbol.for("deepmusician.player")] ??= { news: new Map(), ask: new Map(), players: new Map() });
