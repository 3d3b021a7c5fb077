/** A film on one or two canvases: window and level, invert, zoom and pan, the same on both. */

const CLOSEST = 12;
const STEP = 1.25;
const PLAIN = { level: 128, window: 256, inverted: false, zoom: 1, x: 0.5, y: 0.5 };
const WIDEST = 512;

/**
 * Where the film lies on a canvas, in the canvas's pixels; `line` is the width of one CSS pixel.
 * @typedef {{x: number, y: number, width: number, height: number, line: number}} Place
 * @typedef {(context: CanvasRenderingContext2D, place: Place) => void} Painter
 */

const within = (value, low, high) => Math.min(high, Math.max(low, value));

export class Viewer {
  /**
   * @param {HTMLElement} stage takes pointer and keys
   * @param {HTMLCanvasElement} plain the film alone, shown side by side
   * @param {HTMLCanvasElement} drawn the film with what `paint` puts on it
   * @param {Painter} paint
   * @param {() => void} changed called after window, zoom or place have changed
   */
  constructor(stage, plain, drawn, paint, changed) {
    Object.assign(this, { stage, plain, drawn, paint, changed });
    /** @type {"window"|"move"} what dragging does */
    this.drag = "window";
    this.beside = false;
    this.state = { ...PLAIN };
    this.film = document.createElement("canvas");
    /** @type {Uint8Array|null} grey values, 0 to 255 */
    this.grey = null;
    this.waiting = false;
    this.pointers = new Map();
    const sizes = new ResizeObserver(() => this.redraw());
    [plain, drawn].forEach((canvas) => sizes.observe(canvas));
    this.listen();
  }

  /** @param {HTMLImageElement|null} picture as displayed; null for none */
  show(picture) {
    this.state = { ...PLAIN };
    this.grey = null;
    if (picture) {
      this.film.width = picture.naturalWidth;
      this.film.height = picture.naturalHeight;
      const context = this.film.getContext("2d", { willReadFrequently: true });
      context.drawImage(picture, 0, 0);
      const { data } = context.getImageData(0, 0, this.film.width, this.film.height);
      this.grey = Uint8Array.from({ length: data.length / 4 }, (_, place) => data[4 * place]);
    }
    this.expose();
  }

  /** @param {Partial<typeof PLAIN>} change */
  set(change) {
    const next = { ...this.state, ...change };
    next.level = within(Math.round(next.level), 0, 255);
    next.window = within(Math.round(next.window), 2, WIDEST);
    next.zoom = within(next.zoom, 1, CLOSEST);
    [next.x, next.y] = next.zoom === 1 ? [0.5, 0.5] : [within(next.x, 0, 1), within(next.y, 0, 1)];
    const tones = ["level", "window", "inverted"].some((name) => next[name] !== this.state[name]);
    this.state = next;
    if (tones) this.expose();
    else this.redraw();
  }

  invert = () => this.set({ inverted: !this.state.inverted });
  closer = () => this.set({ zoom: this.state.zoom * STEP });
  farther = () => this.set({ zoom: this.state.zoom / STEP });
  fit = () => this.set({ zoom: 1 });
  reset = () => this.set(PLAIN);

  /** @param {number} across share of what is seen @param {number} down */
  move(across, down) {
    const { zoom, x, y } = this.state;
    this.set({ x: x + across / zoom, y: y + down / zoom });
  }

  /** Grey values through window and level onto the film's own canvas. */
  expose() {
    if (this.grey) {
      const { level, window: width, inverted } = this.state;
      const table = Uint32Array.from({ length: 256 }, (_, grey) => {
        const tone = within(Math.round(((grey + 0.5 - level) / width + 0.5) * 256 - 0.5), 0, 255);
        return 0x01010101 * (inverted ? 255 - tone : tone) | 0xff000000;
      });
      const context = this.film.getContext("2d");
      const shown = context.createImageData(this.film.width, this.film.height);
      const pixels = new Uint32Array(shown.data.buffer);
      this.grey.forEach((grey, place) => (pixels[place] = table[grey]));
      context.putImageData(shown, 0, 0);
    }
    this.redraw();
  }

  redraw() {
    if (this.waiting) return;
    this.waiting = true;
    requestAnimationFrame(() => {
      this.waiting = false;
      this.draw(this.drawn, this.paint);
      if (this.beside) this.draw(this.plain, null);
      this.stage.classList.toggle("close", this.state.zoom > 1);
      this.changed();
    });
  }

  draw(canvas, paint) {
    const line = window.devicePixelRatio;
    const [width, height] = [canvas.clientWidth, canvas.clientHeight].map((side) => Math.round(side * line));
    if (canvas.width !== width || canvas.height !== height) Object.assign(canvas, { width, height });
    const context = canvas.getContext("2d");
    context.clearRect(0, 0, width, height);
    if (!this.grey) return;
    const place = this.place(width, height, line);
    context.imageSmoothingQuality = "high";
    context.drawImage(this.film, place.x, place.y, place.width, place.height);
    paint?.(context, place);
  }

  /** @returns {Place} */
  place(across, down, line) {
    const { zoom, x, y } = this.state;
    const scale = Math.min(across / this.film.width, down / this.film.height) * zoom;
    const [width, height] = [this.film.width * scale, this.film.height * scale];
    return { x: across / 2 - x * width, y: down / 2 - y * height, width, height, line };
  }

  /**
   * The whole film with its window, onto a canvas of its own.
   * @param {HTMLCanvasElement} canvas
   * @param {number} width of the film there, in pixels
   * @param {Painter|null} paint
   * @param {number} [below] pixels left free under it
   * @returns {number} the film's height there
   */
  print(canvas, width, paint, below = 0) {
    const height = Math.round((width * this.film.height) / this.film.width);
    Object.assign(canvas, { width, height: height + below });
    const context = canvas.getContext("2d");
    context.imageSmoothingQuality = "high";
    context.drawImage(this.film, 0, 0, width, height);
    paint?.(context, { x: 0, y: 0, width, height, line: width / 700 });
    return height;
  }

  listen() {
    const { stage, pointers } = this;
    stage.addEventListener("contextmenu", (event) => event.preventDefault());
    stage.addEventListener("pointerdown", (event) => {
      if (!(event.target instanceof HTMLCanvasElement)) return;
      event.target.setPointerCapture(event.pointerId);
      pointers.set(event.pointerId, event);
    });
    stage.addEventListener("pointermove", (event) => {
      const before = pointers.get(event.pointerId);
      if (!before || !this.grey) return;
      if (pointers.size === 2) this.pinch(before, event);
      else if (pointers.size === 1) this.dragged(before, event);
      pointers.set(event.pointerId, event);
    });
    for (const end of ["pointerup", "pointercancel"]) {
      stage.addEventListener(end, (event) => pointers.delete(event.pointerId));
    }
    const wheel = (event) => {
      if (!stage.matches(":focus-within")) return; // the page scrolls on until somebody uses the film
      event.preventDefault();
      this.set({ zoom: this.state.zoom * Math.exp(-event.deltaY / 500) });
    };
    stage.addEventListener("wheel", wheel, { passive: false });
  }

  dragged(before, event) {
    const [across, down] = [event.clientX - before.clientX, event.clientY - before.clientY];
    if (this.drag === "move" || event.shiftKey || event.buttons === 2 || event.buttons === 4) this.pull(across, down);
    else this.set({ window: this.state.window + across, level: this.state.level - down });
  }

  /** Move the film with the pointer, in CSS pixels. */
  pull(across, down) {
    const place = this.place(this.drawn.clientWidth, this.drawn.clientHeight, 1);
    this.set({ x: this.state.x - across / place.width, y: this.state.y - down / place.height });
  }

  pinch(before, event) {
    const other = [...this.pointers.values()].find((one) => one.pointerId !== event.pointerId);
    const apart = (one) => Math.hypot(one.clientX - other.clientX, one.clientY - other.clientY) || 1;
    this.pull((event.clientX - before.clientX) / 2, (event.clientY - before.clientY) / 2);
    this.set({ zoom: (this.state.zoom * apart(event)) / apart(before) });
  }
}
