"""The gallery's URLs, below Telltale's own."""

from django.urls import path

from telltale.pages.gallery import views

urlpatterns = [
    path("gallery/", views.gallery, name="gallery"),
    path("gallery/live/", views.live, name="gallery_live"),
    path("gallery/ticket/", views.ticket, name="gallery_ticket"),
    path("gallery/notices/<str:notice_id>/take/", views.take_notice, name="gallery_take"),
]
