// Shows the frames of a film strip one at a time, cut from the figure on the same page.
// It starts still, on the first frame, and moves only while its reader wants it to.
(() => {
  const PAUSE = 500; // milliseconds a frame

  function film(box) {
    const strip = document.querySelector(`#${box.dataset.figure} img`);
    const columns = Number(box.dataset.columns);
    const frames = columns * Number(box.dataset.rows);

    const screen = document.createElement("canvas");
    screen.setAttribute("role", "img");
    screen.setAttribute("aria-label", box.dataset.label);
    const button = document.createElement("button");
    button.type = "button";
    const slider = Object.assign(document.createElement("input"), {
      type: "range", min: 1, max: frames, value: 1,
    });
    slider.setAttribute("aria-label", "frame of the film");
    const controls = document.createElement("div");
    controls.append(button, slider);
    box.append(screen, controls);

    let timer = null;

    function show() {
      const width = strip.naturalWidth / columns;
      const height = strip.naturalHeight / (frames / columns);
      const frame = Number(slider.value) - 1;
      screen.width = width;
      screen.height = height;
      const [left, top] = [(frame % columns) * width, Math.floor(frame / columns) * height];
      screen.getContext("2d").drawImage(strip, left, top, width, height, 0, 0, width, height);
      slider.setAttribute("aria-valuetext", `frame ${frame + 1} of ${frames}`);
    }

    function stop() {
      clearInterval(timer);
      timer = null;
      button.textContent = "Play";
    }

    function next() {
      slider.value = Number(slider.value) + 1;
      show();
      if (Number(slider.value) === frames) stop();
    }

    function play() {
      if (Number(slider.value) === frames) slider.value = 1;
      show();
      timer = setInterval(next, PAUSE);
      button.textContent = "Stop";
    }

    button.addEventListener("click", () => (timer === null ? play() : stop()));
    slider.addEventListener("input", () => { stop(); show(); });
    // Who asks for less motion gets the slider alone: every frame, and none by itself.
    const calm = matchMedia("(prefers-reduced-motion: reduce)");
    const obey = () => { stop(); button.hidden = calm.matches; };
    calm.addEventListener("change", obey);
    obey();
    strip.complete ? show() : strip.addEventListener("load", show);
  }

  document.querySelectorAll(".film").forEach(film);
})();
