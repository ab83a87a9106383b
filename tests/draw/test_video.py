import av
from PIL import Image

from figment.draw.video import write_mp4


def test_frames_are_h264_that_plays_everywhere(tmp_path):
    frames = [Image.new("RGB", (33, 20), (value, 0, 0)) for value in (0, 128, 255)]
    assert write_mp4(tmp_path / "a.mp4", frames, 30, side=66) == 3
    with av.open(str(tmp_path / "a.mp4")) as video:
        stream = video.streams.video[0]
        assert (stream.codec_context.name, stream.codec_context.pix_fmt) == ("h264", "yuv420p")
        assert (stream.width, stream.height, stream.average_rate) == (66, 40, 30)
    assert [path.name for path in tmp_path.iterdir()] == ["a.mp4"]
