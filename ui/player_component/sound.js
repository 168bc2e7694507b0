// The sound of one piece. It arrives by address, first its beginning, then the whole; a new address takes over at the
// place where the old one is, and the same address again changes nothing. Without sound the place is still kept.

class Sound {
  constructor(on) {
    this.on = on; // change(), failed()
    this.audio = null; // what is heard
    this.next = null; // what takes over once it can play
    this.now = null; // {hash, url, whole, seconds} of what is heard
    this.place = 0; // seconds, while nothing is loaded
    this.wanted = false; // whether it shall play
    this.rate = 1;
    this.volume = 1;
  }

  get ready() {
    return this.audio !== null;
  }

  get time() {
    return this.audio && !this.beyond ? this.audio.currentTime : this.place;
  }

  // Whether the place lies in a part that has not arrived yet.
  get beyond() {
    return this.now !== null && !this.now.whole && this.place > this.now.seconds - 0.05;
  }

  get waiting() {
    return this.wanted && (!this.ready || this.beyond);
  }

  take(sound) {
    if (!sound || sound.hash === (this.coming ?? this.now)?.hash) return;
    // the beginning of another mix must not end what sounds further on; the rest of it will come
    if (this.now && !sound.whole && sound.seconds < Math.min(this.now.seconds, this.time + 2)) return;
    this.coming = sound;
    this.next?.removeAttribute("src");
    const audio = (this.next = new Audio());
    audio.preload = "auto";
    audio.addEventListener("canplay", () => audio === this.next && this.takeOver(audio, sound), { once: true });
    audio.addEventListener("error", () => audio === this.next && this.fail());
    audio.src = sound.url;
  }

  fail() {
    this.next = this.coming = null;
    this.on.failed();
  }

  takeOver(audio, sound) {
    const old = this.audio, place = this.time;
    audio.playbackRate = this.rate;
    audio.volume = this.volume;
    audio.addEventListener("ended", () => audio === this.audio && this.ended());
    audio.addEventListener("timeupdate", () => audio === this.audio && this.on.change());
    const begin = () => {
      if (audio !== this.next) return;
      [this.audio, this.now, this.next, this.coming] = [audio, sound, null, null];
      this.place = place;
      if (old && !old.paused) audio.currentTime = this.place = old.currentTime;
      if (this.wanted && !this.beyond) this.start(() => old?.pause());
      else old?.pause();
      this.on.change();
    };
    if (place > 0.01 && place < audio.duration) {
      audio.addEventListener("seeked", begin, { once: true });
      audio.currentTime = place;
    } else begin();
  }

  ended() {
    if (!this.now.whole) {
      this.place = this.now.seconds; // goes on when the rest arrives
    } else {
      this.wanted = false;
      this.place = this.audio.currentTime;
    }
    this.on.change();
  }

  start(then) {
    this.audio.play().then(then, (error) => {
      if (error.name === "AbortError") return; // a pause came before the first sample
      this.wanted = false; // the browser wants a click first
      this.on.change();
    });
  }

  play() {
    this.wanted = true;
    if (this.ready && !this.beyond) this.start(() => {});
    this.on.change();
  }

  pause() {
    this.place = this.time;
    this.wanted = false;
    this.audio?.pause();
    this.on.change();
  }

  seek(seconds) {
    this.place = Math.max(0, seconds);
    if (!this.audio) return;
    if (this.beyond) this.audio.pause();
    else {
      this.audio.currentTime = this.place;
      if (this.wanted && this.audio.paused) this.start(() => {});
    }
  }

  set(rate, volume) {
    [this.rate, this.volume] = [rate, volume];
    if (this.audio) [this.audio.playbackRate, this.audio.volume] = [rate, volume];
  }

  // Nothing of the piece before is heard any more.
  clear() {
    this.audio?.pause();
    this.audio?.removeAttribute("src");
    this.next?.removeAttribute("src");
    [this.audio, this.next, this.coming, this.now] = [null, null, null, null];
    [this.place, this.wanted] = [0, false];
  }
}
