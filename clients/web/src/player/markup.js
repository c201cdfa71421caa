// What is inside the element: the two videos, and what is said over them.

export const MARKUP = `
<div id="player" class="player" data-state="loading" data-waiting>
  <canvas id="backdrop" aria-hidden="true"></canvas>
  <img id="poster" alt="" hidden>
  <video id="idle" crossorigin muted loop autoplay playsinline webkit-playsinline preload="auto"
         disablepictureinpicture disableremoteplayback tabindex="-1" aria-hidden="true"></video>
  <video id="talk" crossorigin playsinline webkit-playsinline preload="auto"
         disablepictureinpicture disableremoteplayback tabindex="-1" aria-hidden="true"></video>

  <p id="status" class="visually-hidden" role="status">Loading</p>
  <p id="offline" class="offline" role="status" hidden>Reconnecting…</p>
  <p id="recorded" class="recorded" role="status" hidden>Recording</p>

  <button id="tap" class="tap" type="button" hidden>
    <span>
      <svg viewBox="0 0 24 24" fill="none" stroke="currentColor" stroke-width="2"
           stroke-linecap="round" stroke-linejoin="round" aria-hidden="true">
        <path d="M4 9.5v5h3.5L12 18.5v-13L7.5 9.5zM15.5 9a4 4 0 0 1 0 6M18 6.5a7.5 7.5 0 0 1 0 11"/>
      </svg>
      <span id="tap-label">Tap to start</span>
    </span>
  </button>

  <div id="error" class="error" role="alert" hidden>
    <p id="error-text"></p>
    <button id="error-retry" class="button" type="button">Try again</button>
    <button id="error-dismiss" class="button plain" type="button" aria-label="Dismiss">✕</button>
  </div>
  <div class="activity" aria-hidden="true"><i></i><i></i><i></i></div>

  <div id="over" class="over" role="alertdialog" aria-labelledby="over-text" hidden>
    <p id="over-text"></p>
    <div>
      <button id="over-reload" class="button" type="button">Try again</button>
      <a id="over-new" class="button primary">Start a new one</a>
    </div>
  </div>
</div>`;
